"""Connect to a cluster: by a kubeconfig's context, or to the one that this process runs in."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from serve_app.cluster.live.client import Cluster
from serve_app.common.loopback import is_loopback
from serve_app.errors import ClusterError, UsageError, choices

IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def connect(kubeconfig: Path | None = None, context: str | None = None, namespace: str | None = None) -> Cluster:
    """Return a client of the cluster that kubectl would use: `kubeconfig`, $KUBECONFIG, ~/.kube/config or in-cluster.

    It sends no request yet. Raises `UsageError` if there is no such context, `ClusterError` if there is no kubeconfig,
    or if the package `kubernetes` is not installed.
    """
    try:
        from kubernetes import client, config
        from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION
    except ImportError:
        raise ClusterError("Clusters need the kubernetes client: pip install 'semantic-cascade[k8s]'.") from None
    configuration = client.Configuration()
    configuration.retries = False  # `Cluster` repeats requests itself, with pauses
    files = str(kubeconfig) if kubeconfig else KUBE_CONFIG_DEFAULT_LOCATION
    has_kubeconfig = any(Path(file).expanduser().is_file() for file in files.split(os.pathsep) if file)
    if has_kubeconfig:
        context, default = _from_kubeconfig(config, files, context, configuration)
    elif kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        context, default = _from_inside(config, configuration)
    else:
        raise ClusterError(
            f"There is no kubeconfig at {files}. Choose one with --kubeconfig or KUBECONFIG; your cluster's provider "
            "has a command that writes it."
        )
    if is_loopback(urlsplit(configuration.host).hostname):
        configuration.proxy = None
    return Cluster(client.ApiClient(configuration), context, namespace or default or "default")


def _from_kubeconfig(config: Any, files: str, context: str | None, configuration: Any) -> tuple[str, str | None]:
    import yaml

    try:
        contexts, current = config.list_kube_config_contexts(files)
        available = {entry["name"]: entry["context"] for entry in contexts}
        name = context or current["name"]
        if name not in available:
            raise UsageError(f"{files} has no context {name!r}. {choices(name, available)}")
        config.load_kube_config(files, name, configuration, persist_config=False)
    except yaml.YAMLError:
        raise ClusterError(f"{files} is not YAML.") from None
    except (config.ConfigException, OSError, TypeError, KeyError) as error:
        # The first line only: the rest may quote the file.
        reason = str(error).splitlines()[0] if isinstance(error, config.ConfigException) else "it is malformed"
        raise ClusterError(f"The kubeconfig {files} cannot be used: {reason.rstrip('.')}.") from None
    return name, available[name].get("namespace")


def _from_inside(config: Any, configuration: Any) -> tuple[str, str | None]:
    try:
        config.load_incluster_config(configuration)
        return "this pod's service account", IN_CLUSTER_NAMESPACE.read_text(encoding="utf-8").strip()
    except (config.ConfigException, OSError) as error:
        raise ClusterError(f"This pod has no usable service account: {str(error).rstrip('.')}.") from None
