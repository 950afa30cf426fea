"""Answers that were recorded or written down, with the timing of a GPU."""
