"""Checks of a config beyond its types, and the report of `cascade check`."""
