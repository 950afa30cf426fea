"""Render the RayService: Ray's head, worker groups, the serving config, the kind of upgrades."""

from math import ceil

from serve_app.cluster.manifests import Fields, Manifest
from serve_app.cluster.render import nodes, pods
from serve_app.cluster.render.worker_groups import WorkerGroup
from serve_app.cluster.serve_config import PORT, graceful_shutdown_s, longest_request_s
from serve_app.cluster.settings import Settings
from serve_app.config.serve_file import ServeFile


def base(settings: Settings) -> Manifest:
    """Return the part that is equal for every config and overlay. By itself it serves nothing."""
    options = {
        "version": "v2",
        "idleTimeoutSeconds": settings.idle_timeout_s,
        "securityContext": pods.container_security(),
        "volumeMounts": pods.scratch_mounts(),
    }
    service = {
        "metadata": {"labels": pods.labels(settings, "serve")},
        "spec": {"type": "ClusterIP", "ports": [{"name": "serve", "port": PORT}]},
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": settings.name, "labels": pods.labels(settings, "service")},
        "spec": {
            "upgradeStrategy": {"type": "NewCluster"},
            "excludeHeadPodFromServeSvc": True,
            "serveService": service,
            "rayClusterConfig": {
                "rayVersion": settings.ray_version,
                "authOptions": {"mode": "token", "secretName": settings.ray_token_secret},
                "enableInTreeAutoscaling": True,
                "autoscalerOptions": options,
                # Zero CPUs, so that no replica runs beside the head.
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0"},
                    "template": pods.head(settings, settings.drain_s),
                },
            },
        },
    }


def with_config(settings: Settings, file: ServeFile, groups: list[WorkerGroup], serve_config: str) -> Manifest:
    """Return the base with a config, and the overlay's upgrades and fault tolerance."""
    args = file.application.args
    # Replicas end their requests while Ray drains the node, Ray drains while Kubernetes waits for the pod.
    drain_s = max(settings.drain_s, ceil(graceful_shutdown_s(file)) + pods.DRAIN_MARGIN_S)
    service = base(settings)
    spec, cluster = service["spec"], service["spec"]["rayClusterConfig"]
    cluster["headGroupSpec"]["template"] = pods.head(settings, drain_s)
    if settings.gateway:
        spec["upgradeStrategy"] = _incremental(settings)
        del spec["serveService"]  # the operator ignores it then
    if settings.redis:
        cluster["gcsFaultToleranceOptions"] = {
            "redisAddress": settings.redis.address,
            "redisPassword": {
                "valueFrom": {"secretKeyRef": {"name": settings.redis.secret, "key": settings.redis.key}}
            },
        }
    # A replaced cluster stays until the last of its requests must have ended.
    spec["rayClusterDeletionDelaySeconds"] = ceil(longest_request_s(args))
    needs = pods.Needs.of(args)
    cluster["workerGroupSpecs"] = [
        {
            "groupName": group.name,
            "replicas": group.pods.initial,
            "minReplicas": group.pods.min,
            "maxReplicas": group.pods.max,
            "rayStartParams": {},
            "resources": nodes.group_resources(group),
            "template": pods.worker(group, settings, needs, drain_s),
        }
        for group in groups
    ]
    spec["serveConfigV2"] = serve_config
    return service


def _incremental(settings: Settings) -> Fields:
    assert settings.gateway is not None
    return {
        "type": "NewClusterWithIncrementalUpgrade",
        "clusterUpgradeOptions": {
            "gatewayClassName": settings.gateway.class_name,
            "stepSizePercent": settings.gateway.step_size_percent,
            "intervalSeconds": settings.gateway.interval_s,
            "maxSurgePercent": settings.gateway.max_surge_percent,
        },
    }
