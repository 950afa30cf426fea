"""Render the volume for the models, and the Job that fetches them."""

import hashlib
import json

from serve_app.cluster.manifests import Fields, Manifest
from serve_app.cluster.render import pods
from serve_app.cluster.render.image import with_image
from serve_app.cluster.settings import Settings
from serve_app.config import AppConfig

KEEP_JOB_S = 86400
"""Seconds for which a finished Job and its log are retained."""


def objects(settings: Settings, args: AppConfig, serve_config: str) -> list[Manifest]:
    """Return the serving config as a file, the volume and the Job; nothing if no model has files."""
    if not args.weights():
        return []
    return [_config_map(settings, serve_config), _volume(settings), _job(settings, args)]


def _config_map(settings: Settings, serve_config: str) -> Manifest:
    # Its name must not depend on its content: each change of a threshold would be a new pod template, and so a new
    # cluster.
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(settings, f"{settings.name}-config"),
        "data": {"serve.yaml": serve_config},
    }


def _volume(settings: Settings) -> Manifest:
    storage = settings.storage
    spec: Fields = {
        "accessModes": ["ReadWriteMany" if storage.shared else "ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class is not None:
        spec["storageClassName"] = storage.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(settings, f"{settings.name}-models"),
        "spec": spec,
    }


def _job(settings: Settings, args: AppConfig) -> Manifest:
    # A Job cannot be changed, so its name depends on all that is in its pod: models, image, environment.
    pod = pods.pull(settings)
    digest = job_digest(models_digest(settings, args), with_image(pod, settings.image))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(settings, f"{settings.name}-pull-{digest}"),
        "spec": {"backoffLimit": 6, "ttlSecondsAfterFinished": KEEP_JOB_S, "template": pod},
    }


def models_digest(settings: Settings, args: AppConfig) -> str:
    """Return a digest of what the Job fetches and of the Ray that its image has."""
    return _digest(json.dumps([args.weights(), settings.ray_version]))


def job_digest(models: str, pod: Fields) -> str:
    """Return the digest in the Job's name, of the digest of its models and its pod, as a chart's template computes it.

    JSON is that of Go's `json.Marshal`, which Helm's `toJson` calls: sorted keys, and these characters escaped.
    """
    text = json.dumps(pod, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return _digest(models + text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _metadata(settings: Settings, name: str) -> Fields:
    return {"name": name, "labels": pods.labels(settings, "models")}
