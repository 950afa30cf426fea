"""Answers that are kept, and equal requests that share one run."""
