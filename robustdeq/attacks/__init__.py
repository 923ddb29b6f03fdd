"""Attacks: searches over a `Surface`. They know no model and judge nothing."""
