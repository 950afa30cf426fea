"""Opens a request before a model is asked: its tiers, its models, and whether they can honour it."""
