"""What a RayService must have, and of which types, before anything else can be said of it.

Only what the operator's rules and our own look at: KubeRay's CustomResourceDefinition says far more.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from serve_app.cluster.manifests import Fields, Manifest
from serve_app.config.explain import explain


def shape_faults(service: Manifest) -> list[str]:
    """A sentence for each thing that is missing or of another type."""
    try:
        _Service.model_validate(service)
    except ValidationError as error:
        return explain(error, _Service)
    return []


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, strict=True)


class _Variable(_Part):
    name: str
    value: str | None = None


class _Container(_Part):
    ports: list[Fields] = []
    env: list[_Variable] = []


class _PodSpec(_Part):
    containers: list[_Container] = Field(min_length=1)
    restart_policy: str = ""
    termination_grace_period_seconds: int = 0


class _Template(_Part):
    spec: _PodSpec


class _Metadata(_Part):
    name: str = ""


class _HeadService(_Part):
    metadata: _Metadata = _Metadata()


class _Group(_Part):
    template: _Template
    ray_start_params: Fields = {}
    resources: Fields = {}


class _Head(_Group):
    head_service: _HeadService = _HeadService()


class _Workers(_Group):
    group_name: str
    min_replicas: int
    max_replicas: int
    replicas: int = 0


class _Authentication(_Part):
    mode: str = ""
    secret_name: str = ""


class _Autoscaler(_Part):
    version: str = ""


class _Cluster(_Part):
    ray_version: str = ""
    auth_options: _Authentication = _Authentication()
    autoscaler_options: _Autoscaler = _Autoscaler()
    head_group_spec: _Head
    worker_group_specs: list[_Workers] = []


class _UpgradeOptions(_Part):
    gateway_class_name: str = ""
    step_size_percent: int = 0
    interval_seconds: int = 0
    max_surge_percent: int = 0


class _Upgrade(_Part):
    type: str = ""
    cluster_upgrade_options: _UpgradeOptions = _UpgradeOptions()


class _Spec(_Part):
    serve_config_v2: str = Field(alias="serveConfigV2")
    ray_cluster_config: _Cluster
    upgrade_strategy: _Upgrade = _Upgrade()
    ray_cluster_deletion_delay_seconds: int = 0


class _Service(_Part):
    api_version: Literal["ray.io/v1", "ray.io/v1alpha1"]
    spec: _Spec
