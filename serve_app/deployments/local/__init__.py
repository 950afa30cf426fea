"""What `cascade serve` does: a Ray cluster on this machine with one application, from its start to its end."""
