"""What an operator sees of a request: metrics, measures and traces."""
