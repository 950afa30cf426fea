"""Text as all that reads and writes it needs it."""
