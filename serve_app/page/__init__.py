"""The page to try a cascade, see why it decides as it does, and watch it work."""
