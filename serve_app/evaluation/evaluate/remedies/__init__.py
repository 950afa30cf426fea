"""The effect of the remedies against latency and cost on recorded answers: `cascade evaluate --remedies`."""
