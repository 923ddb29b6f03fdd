"""Speed against peers: one command per table, every ratio with its opponent in the same run."""
