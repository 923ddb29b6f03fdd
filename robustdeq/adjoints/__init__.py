"""Adjoints: how an equilibrium is differentiated. They change gradients, never values."""
