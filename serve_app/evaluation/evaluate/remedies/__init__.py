"""What the remedies against latency and cost come to on recorded answers: `cascade evaluate --remedies`."""
