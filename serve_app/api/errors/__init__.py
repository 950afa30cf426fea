"""Errors: what went wrong, and each API's form of it."""
