"""What routers know of earlier requests: in their own process, or in one that all replicas share."""
