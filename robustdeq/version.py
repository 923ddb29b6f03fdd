"""The version of the package, and of the meaning of its numbers."""

__version__ = "0.1.0"

# The meaning of a stored number. A bump names in the changelog which records it touches.
SEMANTICS = 1
