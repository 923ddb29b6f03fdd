"""Pages about several entrants, computed from their records."""
