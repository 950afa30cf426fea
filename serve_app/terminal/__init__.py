"""What people see on a terminal: the consoles that are printed to, and bars of progress."""
