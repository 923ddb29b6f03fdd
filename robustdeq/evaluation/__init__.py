"""Evaluation: one trial from a trained entrant to a record. It loads checkpoints, never trains."""
