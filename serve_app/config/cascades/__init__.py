"""What a user writes about cascades: tiers and their members, and the remedies against latency and cost."""
