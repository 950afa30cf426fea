"""What a config needs: replicas, bundles and GPUs, whether they fit, and how many a rate of requests takes. No Ray."""
