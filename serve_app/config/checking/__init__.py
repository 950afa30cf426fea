"""What is checked of a config beyond its types, and what `cascade check` says of it."""
