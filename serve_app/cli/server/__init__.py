"""The commands for a server on this machine: its models, its keys, its start."""
