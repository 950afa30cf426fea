"""What keeps the server answering: gate and drain, lost replicas, bounded queues, circuit breakers."""
