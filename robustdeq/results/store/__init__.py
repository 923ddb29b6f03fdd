"""The folder of records, what is in it, and what holds it to the truth."""
