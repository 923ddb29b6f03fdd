"""What a column aims at: one file each."""
