"""The commands about a server of one's own: its models, its keys, its life."""
