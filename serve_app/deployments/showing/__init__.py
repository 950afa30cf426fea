"""What the router tells its own page."""
