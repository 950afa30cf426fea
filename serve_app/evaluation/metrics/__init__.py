"""The quality of an answer against references, 0 to 1."""
