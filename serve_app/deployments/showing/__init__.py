"""The router's data for its own page."""
