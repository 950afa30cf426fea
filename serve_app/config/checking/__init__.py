"""What `cascade check` says of a config, for the terminal and for the page."""
