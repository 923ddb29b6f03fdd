"""What the records of a protocol say when they are taken together."""
