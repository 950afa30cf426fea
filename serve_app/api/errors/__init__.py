"""Errors: what went wrong, and how each API says it."""
