"""A cluster: apply, compare, watch and delete manifests there."""
