"""Data sources: one file per data set. Files are read where they lie, nothing is downloaded."""
