"""Access to the API: keys, and the limits of each."""
