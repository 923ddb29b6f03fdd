"""Training: the only package that changes weights or a network's mode."""
