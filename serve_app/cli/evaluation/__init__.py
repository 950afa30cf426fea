"""The commands over examples and records, each in a module of its own name."""
