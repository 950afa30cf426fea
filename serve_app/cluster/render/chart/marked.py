"""Build a config's objects with marks in place of what the chart's values hold."""

from typing import Any

from serve_app.cluster.manifests import Fields, Manifest
from serve_app.cluster.render.chart import marks
from serve_app.cluster.render.image import IMAGE
from serve_app.cluster.render.objects import Objects, assemble
from serve_app.cluster.render.pods import GROUP_LABEL
from serve_app.cluster.settings import Ingress, Settings
from serve_app.config.serve_file import ServeFile

CONFIG_FILE = "files/serve.yaml"
PULL_POD = "cascade.pullPod"
"""The named template of the Job's pod, from which the Job's name follows."""
PLACEMENT = ("nodeSelector", "tolerations", "affinity")


def with_options(settings: Settings) -> Settings:
    """Return settings with each part that the chart's values can switch on."""
    ingress = None if settings.gateway else settings.ingress or Ingress(host="cascade.example.com")
    return settings.model_copy(update={"ingress": ingress, "monitoring": True})


def marked_objects(file: ServeFile, settings: Settings) -> Objects:
    """Return the objects of a config, each part that values can switch on among them, with marks."""
    objects = assemble(file, _marked_settings(with_options(settings)), marks.file(CONFIG_FILE))
    for body in objects.all():
        name = body["metadata"].pop("name")
        body["metadata"] = {"name": name, "namespace": marks.text("namespace")} | body["metadata"]
        _mark_pods(body)
        if mark := _MARKERS.get(body["kind"]):
            mark(body)
    return objects


def pull_pod(objects: Objects) -> Manifest | None:
    """Take the pod of the Job out of the objects and return it, or None if there is no Job."""
    for _, bodies in objects.own:
        for body in bodies:
            if body["kind"] == "Job":
                pod: Manifest = body["spec"]["template"]
                body["spec"]["template"] = marks.include(PULL_POD)
                return pod
    return None


def _marked_settings(settings: Settings) -> Settings:
    update: dict[str, Any] = {
        "name": marks.text("name"),
        "image_pull_secret": IMAGE,  # so that there is a list, which is marked as a whole
        "storage": _marked(settings.storage, size="storage.size", storage_class="storage.storageClass"),
        "ray_token_secret": marks.text("secrets.rayToken"),
        "client_keys_secret": marks.text("secrets.clientKeys"),
        "api_keys_secret": marks.text("secrets.apiKeys"),
        "hub_token_secret": marks.text("secrets.hubToken"),
        "operator_namespace": marks.text("operatorNamespace"),
        "monitoring_namespace": marks.text("monitoring.namespace"),
        "idle_timeout_s": marks.integer("idleTimeoutSeconds"),
    }
    if settings.ingress:
        paths = {"host": "ingress.host", "class_name": "ingress.className", "tls_secret": "ingress.tlsSecret"}
        update["ingress"] = _marked(settings.ingress, **paths)
    if settings.redis:
        redis = _marked(settings.redis, secret="redis.secret", key="redis.key")
        update["redis"] = redis.model_copy(update={"address": f"{marks.text('redis.host')}:{settings.redis.port}"})
    if settings.gateway:
        update["gateway"] = settings.gateway.model_copy(
            update={
                "class_name": marks.text("gateway.className"),
                "step_size_percent": marks.integer("gateway.stepSizePercent"),
                "interval_s": marks.integer("gateway.intervalSeconds"),
                "max_surge_percent": marks.integer("gateway.maxSurgePercent"),
            }
        )
    return settings.model_copy(update=update)


def _marked(part: Any, **paths: str) -> Any:
    """Return a part of the settings with marks for texts; a copy is not validated."""
    return part.model_copy(update={field: marks.text(path) for field, path in paths.items()})


def _mark_pods(value: Any) -> None:
    """Put marks for images and the secrets to pull them with into an object, wherever pods are in it."""
    if isinstance(value, list):
        for item in value:
            _mark_pods(item)
    if not isinstance(value, dict):
        return
    if value.get("image") == IMAGE:
        value["image"] = marks.text("image")
        value["imagePullPolicy"] = marks.text("image.pullPolicy")
    if value.pop("imagePullSecrets", None):
        value[marks.key_if("imagePullSecrets", "imagePullSecrets")] = marks.tree("imagePullSecrets")
    for item in value.values():
        _mark_pods(item)


def _mark_service(body: Manifest) -> None:
    cluster = body["spec"]["rayClusterConfig"]
    _mark_placement(cluster["headGroupSpec"]["template"]["spec"], "head")
    for group in cluster["workerGroupSpecs"]:
        path = f"workerGroups.{group['groupName']}"
        for key in ("replicas", "minReplicas", "maxReplicas"):
            group[key] = marks.integer(f"{path}.{key}")
        _mark_placement(group["template"]["spec"], path)


def _mark_placement(spec: Fields, path: str) -> None:
    spec["containers"][0]["resources"] = marks.tree(f"{path}.resources")
    for key in PLACEMENT:
        spec.pop(key, None)
        spec[marks.key_if(f"{path}.{key}", key)] = marks.tree(f"{path}.{key}")


def _mark_volume(body: Manifest) -> None:
    # As with `cascade k8s delete`, the models outlive a `helm uninstall`.
    body["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    spec = body["spec"]
    spec["accessModes"] = [marks.text("storage.accessMode")]
    # An empty class is not the default one: it asks for a volume that an administrator made.
    spec[marks.key_unless_null("storage.storageClass", "storageClassName")] = spec.pop("storageClassName")


def _mark_job(body: Manifest) -> None:
    body["metadata"]["name"] = f"{marks.text('name')}-pull-{marks.text('job')}"


def _mark_budget(body: Manifest) -> None:
    group = body["spec"]["selector"]["matchLabels"][GROUP_LABEL]
    body["spec"]["minAvailable"] = marks.integer(f"{marks.ALL_BUT_ONE}workerGroups.{group}.minReplicas")


def _mark_ingress(body: Manifest) -> None:
    del body["metadata"]["annotations"]
    path = "ingress.annotations"
    body["metadata"][marks.key_if(path, "annotations")] = marks.tree(path)
    spec = body["spec"]
    body["spec"] = {
        marks.key_if("ingress.className", "ingressClassName"): spec["ingressClassName"],
        marks.key_if("ingress.tlsSecret", "tls"): spec["tls"],
        "rules": spec["rules"],
    }


_MARKERS = {
    "RayService": _mark_service,
    "PersistentVolumeClaim": _mark_volume,
    "Job": _mark_job,
    "PodDisruptionBudget": _mark_budget,
    "Ingress": _mark_ingress,
}
