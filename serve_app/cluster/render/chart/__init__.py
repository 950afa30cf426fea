"""A Helm chart of the same objects as the kustomize base and overlay."""
