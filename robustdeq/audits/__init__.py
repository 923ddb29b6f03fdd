"""Audits: what may be wrong with a robustness figure, one test per file."""
