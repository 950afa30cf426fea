"""The replicas, bundles and GPUs of a config, whether they fit a cluster, and how many a load needs. Without Ray."""
