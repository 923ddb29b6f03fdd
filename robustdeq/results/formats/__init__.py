"""Boards and pages as text."""
