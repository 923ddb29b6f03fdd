"""Engines: where the jobs of a matrix run, never what they compute."""
