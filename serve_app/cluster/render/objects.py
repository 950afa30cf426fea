"""Builds all objects of a serving config, whether they are written as a kustomization or a chart."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from serve_app.cluster.check.operator_rules import operator_faults
from serve_app.cluster.manifests import Manifest
from serve_app.cluster.render import network, rayservice, storage, worker_groups
from serve_app.cluster.render.yaml_text import dumped
from serve_app.cluster.serve_config import for_cluster
from serve_app.cluster.settings import Settings
from serve_app.config.ray_rules import load
from serve_app.config.serve_file import ServeFile
from serve_app.errors import ConfigError
from serve_app.planning.plan import plan_of

Part: TypeAlias = tuple[str, list[Manifest]]
"""Objects that go into one file, and its name without `.yaml`."""


@dataclass(frozen=True)
class Objects:
    """`common` does not depend on the config, `own` and `service` do.

    `file` is the config as pods need it, `serve_config` its text.
    """

    file: ServeFile
    serve_config: str
    groups: list[worker_groups.WorkerGroup]
    common: list[Part]
    own: list[Part]
    service: Manifest

    def all(self) -> list[Manifest]:
        """Return every object."""
        return [body for _, bodies in [*self.common, *self.own] for body in bodies] + [self.service]


def build(config: Path, settings: Settings) -> Objects:
    """Return the objects of a config. Raises ConfigError if it cannot run in a cluster."""
    values = for_cluster(config, load(config))
    objects = assemble(ServeFile.model_validate(values), settings, dumped([values]))
    if sentences := operator_faults(objects.service):
        raise ConfigError(f"KubeRay would refuse it: {' '.join(sentences)}")
    return objects


def assemble(file: ServeFile, settings: Settings, serve_config: str) -> Objects:
    """Return the objects of a config that was read, with a text for it."""
    args = file.application.args
    groups = worker_groups.worker_groups(plan_of(file), settings)
    own = [
        ("models", storage.objects(settings, args, serve_config)),
        ("network", network.overlay_policies(settings, args)),
        ("disruption", [network.budget(settings, group) for group in groups]),
        ("ingress", network.ingress(settings, args)),
        ("monitoring", network.monitor(settings)),
    ]
    return Objects(
        file=file,
        serve_config=serve_config,
        groups=groups,
        common=[("namespace", [_namespace(settings)]), ("network", network.base_policies(settings))],
        own=[(name, bodies) for name, bodies in own if bodies],
        service=rayservice.with_config(settings, file, groups, serve_config),
    )


def cautions(objects: Objects, settings: Settings) -> list[str]:
    """Return what a user should know about the objects."""
    return worker_groups.cautions(objects.groups) + network.cautions(settings, objects.file.application.args)


def _namespace(settings: Settings) -> Manifest:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": settings.namespace, "labels": labels}}
