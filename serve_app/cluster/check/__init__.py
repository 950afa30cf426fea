"""What Kubernetes, the KubeRay operator or Ray Serve would refuse, checked without a cluster."""
