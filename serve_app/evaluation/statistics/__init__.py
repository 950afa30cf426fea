"""Curves, intervals, bounds and searches over arrays; no records and no config."""
