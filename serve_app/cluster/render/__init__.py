"""Manifests for KubeRay from a serving config: a kustomize base and an overlay."""
