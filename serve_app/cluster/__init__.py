"""Kubernetes with KubeRay: manifests rendered from a serving config, and what is done with them on a cluster."""
