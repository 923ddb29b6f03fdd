"""Solvers: how z = f(z) is found. One loop in `base`, one update rule per file."""
