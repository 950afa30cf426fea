"""Who may talk to whom, how requests come in, what scrapes the metrics, and how many pods may be evicted at once."""

from math import ceil

from serve_app.cluster.manifests import Fields, Manifest
from serve_app.cluster.render import pods
from serve_app.cluster.render.worker_groups import WorkerGroup
from serve_app.cluster.serve_config import PORT, longest_request_s
from serve_app.cluster.settings import Settings, port_of
from serve_app.config import AppConfig, OpenAiApiModel

CLIENT_LABEL = {"semantic-cascade/client": "true"}
"""Of namespaces whose pods may send requests: the Ingress controller's, the Gateway's, those of applications."""
GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"
"""Of the proxies that a Gateway controller starts for one Gateway, by the Gateway API."""
NGINX = "nginx.ingress.kubernetes.io"
METRICS = ("metrics", "as-metrics", "dash-metrics")


def policies(settings: Settings) -> list[Manifest]:
    """What is closed and open in every overlay. The network of the cluster must enforce NetworkPolicies."""
    ray = [{"podSelector": _ray(settings)}]
    operator = {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}},
    }
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.monitoring_namespace}}}
    incoming = [
        {"from": ray},
        {"from": [operator], "ports": _ports(pods.PORTS["dashboard"], PORT)},
        {"from": [{"namespaceSelector": {"matchLabels": CLIENT_LABEL}}], "ports": _ports(PORT)},
        {"from": [monitoring], "ports": _ports(*(pods.PORTS[name] for name in METRICS))},
    ]
    head = {"matchLabels": pods.labels(settings, "head")}
    pull = {"matchLabels": pods.labels(settings, "pull")}
    return [
        _policy(settings, "ray", _ray(settings), ingress=incoming, egress=[{"to": ray}, _dns()]),
        # The autoscaler asks the API server, whose address no selector names.
        _policy(settings, "head", head, egress=[{"ports": _ports(*settings.api_server_ports)}]),
        _policy(settings, "pull", pull, ingress=[], egress=[_dns(), {"ports": _ports(*settings.pull_ports)}]),
    ]


def more_policies(settings: Settings, args: AppConfig) -> list[Manifest]:
    """What an overlay and its config need beside that: a Gateway, Redis, endpoints of models, a collector of traces."""
    found = []
    if settings.gateway:
        # Controllers such as Istio start the proxies beside the Gateway, which the operator makes in our own namespace.
        proxies = {"podSelector": {"matchLabels": {GATEWAY_LABEL: f"{settings.name}-gateway"}}}
        incoming = [{"from": [proxies], "ports": _ports(PORT)}]
        found.append(_policy(settings, "gateway", _ray(settings), ingress=incoming))
    if settings.redis:
        head = {"matchLabels": pods.labels(settings, "head")}
        found.append(_policy(settings, "redis", head, egress=[{"ports": _ports(settings.redis.port)}]))
    urls = [model.base_url for model in args.models.values() if isinstance(model, OpenAiApiModel)]
    urls += [args.router.tracing.endpoint] if args.router.tracing else []
    if ports := sorted(set(map(port_of, urls))):
        worker = {"matchLabels": pods.labels(settings, "worker")}
        found.append(_policy(settings, "endpoints", worker, egress=[{"ports": _ports(*ports)}]))
    return found


def budget(settings: Settings, groups: list[WorkerGroup]) -> Manifest:
    """One worker at a time may be evicted, of a single one none. An integer: a share needs a scale, which CRDs lack."""
    least = sum(group.pods.min for group in groups)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(settings, f"{settings.name}-workers"),
        "spec": {
            "minAvailable": max(1, least - 1),
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": pods.labels(settings, "worker")},
        },
    }


def ingress(settings: Settings, args: AppConfig) -> list[Manifest]:
    """A route to the service, where the overlay has one and upgrades bring none of their own.

    nginx would cut an answer after 60 s; other controllers ignore its annotations.
    """
    if settings.ingress is None:
        return []
    host, tls = settings.ingress.host, settings.ingress.tls_secret
    backend = {"service": {"name": f"{settings.name}-serve-svc", "port": {"number": PORT}}}
    rule = {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    spec: Fields = {"ingressClassName": settings.ingress.class_name} if settings.ingress.class_name else {}
    spec |= {"tls": [{"hosts": [host], "secretName": tls}]} if tls else {}
    longest_s = str(ceil(longest_request_s(args)))
    annotations = {f"{NGINX}/proxy-read-timeout": longest_s, f"{NGINX}/proxy-send-timeout": longest_s}
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": _metadata(settings, settings.name)
            | {"annotations": annotations | settings.ingress.annotations},
            "spec": spec | {"rules": [rule]},
        }
    ]


def monitor(settings: Settings) -> list[Manifest]:
    """What the Prometheus operator scrapes: all of Ray's metrics, and so ours."""
    if not settings.monitoring:
        return []
    label = {"sourceLabels": ["__meta_kubernetes_pod_label_ray_io_cluster"], "targetLabel": "ray_io_cluster"}
    endpoints = [{"port": name, "relabelings": [label]} for name in METRICS]
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PodMonitor",
            "metadata": _metadata(settings, settings.name),
            "spec": {"selector": _ray(settings), "podMetricsEndpoints": endpoints},
        }
    ]


def _ray(settings: Settings) -> Fields:
    return {
        "matchLabels": {"app.kubernetes.io/instance": settings.name},
        "matchExpressions": [
            {"key": "app.kubernetes.io/component", "operator": "In", "values": ["head", "worker"]},
        ],
    }


def _policy(settings: Settings, name: str, selector: Fields, **rules: list[Fields]) -> Manifest:
    """`ingress` and `egress` rules; what has none of a kind is left open by this policy."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(settings, f"{settings.name}-{name}"),
        "spec": {"podSelector": selector, "policyTypes": [kind.capitalize() for kind in rules]} | rules,
    }


def _metadata(settings: Settings, name: str) -> Fields:
    return {"name": name, "labels": pods.labels(settings, "network")}


def _dns() -> Fields:
    return {"ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]}


def _ports(*ports: int) -> list[Fields]:
    return [{"port": port, "protocol": "TCP"} for port in ports]
