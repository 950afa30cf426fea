"""A request in progress: its model calls, tier by tier, and what they spend."""
