"""Render network policies, the Ingress, the monitor of metrics, and the disruption budget."""

from math import ceil

from serve_app.cluster.field_types import port_of
from serve_app.cluster.manifests import Fields, Manifest
from serve_app.cluster.render import pods
from serve_app.cluster.render.worker_groups import WorkerGroup
from serve_app.cluster.serve_config import PORT, longest_request_s
from serve_app.cluster.settings import Settings
from serve_app.config import AppConfig, OpenAiApiModel

CLIENT_LABEL = {"semantic-cascade/client": "true"}
"""The label of namespaces whose pods may send requests: the Ingress controller's, the Gateway's, those of clients."""
GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"
"""The label of the proxies that a Gateway controller starts for one Gateway, by the Gateway API."""
NGINX = "nginx.ingress.kubernetes.io"
METRICS = ("metrics", "as-metrics", "dash-metrics")


def base_policies(settings: Settings) -> list[Manifest]:
    """Return the policies of every overlay. They have an effect only if the cluster's network enforces them."""
    ray = [{"podSelector": _ray(settings)}]
    # A user with the right to create pods in a namespace can give them any label, but cannot rename the namespace.
    operator = _namespace(settings.operator_namespace) | {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}},
    }
    monitoring = _namespace(settings.monitoring_namespace)
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
        # The autoscaler sends requests to the API server, whose address no selector matches.
        _policy(settings, "head", head, egress=[{"ports": _ports(*settings.api_server_ports)}]),
        _policy(settings, "pull", pull, ingress=[], egress=[_dns(), {"ports": _ports(*settings.pull_ports)}]),
    ]


def overlay_policies(settings: Settings, args: AppConfig) -> list[Manifest]:
    """Return the policies for a Gateway, Redis, metrics, endpoints of models, a collector, if there are any."""
    policies = []
    head = {"matchLabels": pods.labels(settings, "head")}
    if settings.gateway:
        # Controllers such as Istio start the proxies beside the Gateway, which the operator makes in our own namespace.
        proxies = {"podSelector": {"matchLabels": {GATEWAY_LABEL: f"{settings.name}-gateway"}}}
        incoming = [{"from": [proxies], "ports": _ports(PORT)}]
        policies.append(_policy(settings, "gateway", _ray(settings), ingress=incoming))
    if settings.ray_dashboard:
        ports = _ports(*settings.ray_dashboard.ports)
        policies.append(_policy(settings, "dashboard", head, egress=[{"ports": ports}]))
    if settings.redis:
        policies.append(_policy(settings, "redis", head, egress=[{"ports": _ports(settings.redis.port)}]))
    urls = [model.base_url for model in args.models.values() if isinstance(model, OpenAiApiModel)]
    urls += [args.router.tracing.endpoint] if args.router.tracing else []
    urls += [args.router.access.limits_url] if args.router.access.limits_url else []
    if numbers := sorted(set(map(port_of, urls))):
        worker = {"matchLabels": pods.labels(settings, "worker")}
        policies.append(_policy(settings, "endpoints", worker, egress=[{"ports": _ports(*numbers)}]))
    return policies


def budget(settings: Settings, group: WorkerGroup) -> Manifest:
    """Return the budget by which one worker of a group's least number may be evicted at a time, and a single one never.

    It is a number of pods: a percentage needs a scale, which RayServices lack. So those that the autoscaler adds may be
    evicted together.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(settings, f"{settings.name}-{group.name}"),
        "spec": {
            "minAvailable": max(1, group.pods.min - 1),
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": pods.labels(settings, "worker") | {pods.GROUP_LABEL: group.name}},
        },
    }


def ingress(settings: Settings, args: AppConfig) -> list[Manifest]:
    """Return a route to the service if the settings have one.

    The annotations are nginx's, which otherwise ends an answer after 60 s and refuses more than 1 MB; other controllers
    ignore them.
    """
    if settings.ingress is None:
        return []
    host, tls = settings.ingress.host, settings.ingress.tls_secret
    backend = {"service": {"name": f"{settings.name}-serve-svc", "port": {"number": PORT}}}
    rule = {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    spec: Fields = {"ingressClassName": settings.ingress.class_name} if settings.ingress.class_name else {}
    spec |= {"tls": [{"hosts": [host], "secretName": tls}]} if tls else {}
    longest_s = str(ceil(longest_request_s(args)))
    annotations = {
        f"{NGINX}/proxy-read-timeout": longest_s,
        f"{NGINX}/proxy-send-timeout": longest_s,
        f"{NGINX}/proxy-body-size": str(args.router.max_body_bytes),
    }
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": _metadata(settings, settings.name)
            | {"annotations": annotations | settings.ingress.annotations},
            "spec": spec | {"rules": [rule]},
        }
    ]


def cautions(settings: Settings, args: AppConfig) -> list[str]:
    """Return cautions about access to the API and about traffic that can be read on the network."""
    plain = settings.ingress is not None and settings.ingress.tls_secret is None
    traffic_caution = ["the Ingress takes plain HTTP (tls_secret: null), so keys and texts can be read on their way"]
    access_caution = ["the API asks for no key (router.access.open), so any client that reaches it may use it"]
    return (traffic_caution if plain else []) + (access_caution if args.router.access.open else [])


def monitor(settings: Settings) -> list[Manifest]:
    """Return what makes the Prometheus operator scrape all of Ray's metrics, ours among them."""
    if not settings.monitoring:
        return []
    label = {"sourceLabels": ["__meta_kubernetes_pod_label_ray_io_cluster"], "targetLabel": "ray_io_cluster"}
    endpoints = [{"port": name, "relabelings": [label]} for name in METRICS]
    labels = settings.monitoring_labels | pods.labels(settings, "network")
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PodMonitor",
            "metadata": {"name": settings.name, "labels": labels},
            "spec": {"selector": _ray(settings), "podMetricsEndpoints": endpoints},
        }
    ]


def _namespace(name: str) -> Fields:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _ray(settings: Settings) -> Fields:
    return {
        "matchLabels": {"app.kubernetes.io/instance": settings.name},
        "matchExpressions": [
            {"key": "app.kubernetes.io/component", "operator": "In", "values": ["head", "worker"]},
        ],
    }


def _policy(settings: Settings, name: str, selector: Fields, **rules: list[Fields]) -> Manifest:
    """Return a policy of `ingress` and `egress` rules. It does not restrict a direction without rules."""
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
