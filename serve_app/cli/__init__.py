"""The `cascade` command: what each command takes and prints; the work is done elsewhere."""
