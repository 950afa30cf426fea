"""Settings of the manifests that no serving config has: the cluster, its nodes, and the names of objects in it."""

from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from pydantic import Field, PositiveInt, ValidationError, model_validator

from serve_app import __version__
from serve_app.cluster.field_types import (
    Address,
    Host,
    Labels,
    Name,
    Namespace,
    ObjectName,
    PlainVariables,
    Port,
    Products,
    Size,
    Url,
    Variable,
    port_of,
    urls_of,
)
from serve_app.config.explain import explain, kind_of
from serve_app.config.strict import Strict
from serve_app.config.yaml_file import read_yaml
from serve_app.errors import ConfigError

Overlay: TypeAlias = Literal["cpu-demo", "gpu-single-node", "gpu-autoscaling", "paper-70b"]
IMAGE = f"semantic-cascade:{__version__}"


class Pod(Strict):
    """What one pod asks for, as its limit too."""

    cpus: PositiveInt = Field(description="CPU cores.")
    memory: Size = Field(description="Such as 8Gi.")


class GpuPod(Strict):
    """What a GPU pod asks for, by the GPU."""

    cpus_per_gpu: PositiveInt = Field(8, description="CPU cores for each GPU.")
    memory_per_gpu: Size = Field("64Gi", description="Memory for each GPU.")


class Storage(Strict):
    """The volume that holds the models."""

    size: Size = Field("50Gi", description="Room for all models.")
    storage_class: str | None = Field(None, description="Default: the cluster's own.")
    shared: bool = Field(True, description="Mounted on several nodes (ReadWriteMany); false: one node only.")


class Redis(Strict):
    """Where Ray's head keeps its state, so that its death does not end the cluster."""

    address: Address = Field("redis:6379", description="host:port; not made by these manifests.")
    secret: ObjectName = Field("cascade-redis", description="Secret with the password.")
    key: str = Field("password", description="Key of the Secret.")

    @property
    def port(self) -> int:
        """Return the port of the address."""
        return int(self.address.rpartition(":")[2])


class Ingress(Strict):
    """An Ingress in front of the service."""

    host: Host = Field(description="Host name that clients use.")
    class_name: ObjectName | None = Field(None, description="Default: the cluster's own.")
    tls_secret: ObjectName | None = Field(
        "cascade-tls", description="Secret with certificate and key; null: plain HTTP, by which API keys can be read."
    )
    annotations: dict[str, str] = Field(
        {}, description="For its controller, over ours, with which nginx waits as long as the longest request may take."
    )


class Gateway(Strict):
    """Upgrades in steps: the operator makes a Gateway and a route, and moves traffic from the old cluster to a new."""

    class_name: ObjectName = Field(description="GatewayClass, such as istio.")
    step_size_percent: int = Field(10, ge=1, le=100, description="Share of traffic moved in one step.")
    interval_s: PositiveInt = Field(60, description="Seconds between two steps.")
    max_surge_percent: int = Field(50, ge=1, le=100, description="Extra capacity during an upgrade, in percent.")

    @model_validator(mode="after")
    def _step_within_surge(self) -> Self:
        if self.step_size_percent > self.max_surge_percent:
            raise ValueError(
                f"step_size_percent: must be at most max_surge_percent ({self.max_surge_percent}), "
                f"got {self.step_size_percent}"
            )
        return self


class RayDashboard(Strict):
    """Where Ray's own dashboard finds the metrics that it shows."""

    prometheus: Url = Field(description="Prometheus, as the head reaches it: http://prometheus.monitoring:9090.")
    grafana: Url | None = Field(None, description="Grafana, as the head reaches it; null: no panels.")
    grafana_iframe: Url | None = Field(
        None, description="Grafana, as the browser of an operator reaches it; null: as the head does."
    )

    def variables(self) -> dict[str, str]:
        """Return the environment variables by which Ray reads them."""
        values = {
            "RAY_PROMETHEUS_HOST": self.prometheus,
            "RAY_GRAFANA_HOST": self.grafana,
            "RAY_GRAFANA_IFRAME_HOST": self.grafana_iframe,
        }
        return {name: value for name, value in values.items() if value}

    @property
    def ports(self) -> list[int]:
        """Return the ports that the head reaches."""
        return sorted({port_of(url) for url in (self.prometheus, self.grafana) if url})


class Settings(Strict):
    """Every option of the manifests."""

    name: Name = Field("cascade", description="Name of the RayService, and prefix of the other objects.")
    namespace: Namespace = Field("cascade", description="Namespace of all objects.")
    image: str = Field(
        IMAGE, pattern=r"^\S+$", description="Image address that the cluster can pull; build it from k8s/Dockerfile."
    )
    image_pull_secret: ObjectName | None = Field(None, description="Secret with the registry's credentials.")
    ray_version: str = Field("2.60.0", pattern=r"^\d+\.\d+\.\d+$", description="Ray version in the image.")
    storage: Storage = Field(Storage(), description="The volume for the models.")
    ray_token_secret: ObjectName = Field("cascade-ray-token", description="Key auth_token: the token that guards Ray.")
    hub_token_secret: ObjectName = Field(
        "cascade-hub-token", description="Key token, for gated models; may be missing."
    )
    pull_env: PlainVariables = Field(
        {}, description="For the fetching Job: PIP_INDEX_URL, HF_ENDPOINT, proxies, ...; it reaches their ports."
    )
    pull_secret_env: dict[Variable, Port] = Field(
        {},
        description="More for the Job, from api_keys_secret, such as a HTTPS_PROXY or PIP_INDEX_URL with a password, "
        "each with the port of its URL, which the Job reaches.",
    )
    api_keys_secret: ObjectName = Field(
        "cascade-api-keys", description="A key for each api_key_env, api_key_file, secret_env and pull_secret_env."
    )
    client_keys_secret: ObjectName = Field(
        "cascade-client-keys",
        description="Key keys.yaml: the file that `cascade keys` writes, of those who may use the API; not with "
        "router.access.open.",
    )
    secret_env: list[Variable] = Field(
        [], description="More environment variables of the workers, from api_keys_secret, such as a collector's token."
    )
    head: Pod = Field(Pod(cpus=2, memory="6Gi"), description="The pod of Ray's head.")
    cpu_worker: Pod = Field(Pod(cpus=4, memory="8Gi"), description="A worker pod without GPUs.")
    gpu_worker: GpuPod = Field(GpuPod(), description="What a worker pod with GPUs has beside.")
    gpus_per_node: PositiveInt = Field(8, description="GPUs of the cluster's largest node.")
    gpu_products: Products = Field(
        {}, description="Values of the node label nvidia.com/gpu.product for an accelerator type; `any`: for none."
    )
    idle_timeout_s: PositiveInt = Field(300, description="A worker pod with nothing on it leaves after so long.")
    drain_s: PositiveInt = Field(120, description="Seconds that a stopping pod gives its requests to finish.")
    redis: Redis | None = Field(None, description="Lets the head die without ending the cluster; null: none.")
    ingress: Ingress | None = Field(None, description="An Ingress in front of the service; null: none.")
    gateway: Gateway | None = Field(None, description="Upgrades in steps through a Gateway; null: none.")
    operator_namespace: Namespace = Field("kuberay-system", description="Where KubeRay's operator runs.")
    monitoring: bool = Field(False, description="A PodMonitor; needs the Prometheus operator.")
    monitoring_labels: Labels = Field(
        {}, description="Labels of the PodMonitor by which Prometheus selects it, such as `release: prometheus`."
    )
    ray_dashboard: RayDashboard | None = Field(
        None, description="Prometheus and Grafana for Ray's own dashboard; null: it shows no metrics."
    )
    monitoring_namespace: Namespace = Field("monitoring", description="Where Prometheus runs.")
    api_server_ports: list[Port] = Field(
        [443, 6443, 8443], min_length=1, description="Ports of the API server's endpoints (not of its Service)."
    )

    @property
    def pull_ports(self) -> list[int]:
        """Return the ports that the Job may reach: HTTPS, and those of mirrors and proxies."""
        urls = [url for name, value in self.pull_env.items() for url in urls_of(name, value)]
        return sorted({443, *map(port_of, urls), *self.pull_secret_env.values()})

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.ingress and self.gateway:
            raise ValueError("ingress: leave it out, since there is a gateway, where upgrades move the traffic")
        return self


OVERLAYS: dict[str, Settings] = {
    "cpu-demo": Settings(storage=Storage(size="10Gi", shared=False)),
    "gpu-single-node": Settings(
        image=f"{IMAGE}-gpu",
        storage=Storage(size="100Gi", shared=False),
        ingress=Ingress(host="cascade.example.com"),
        monitoring=True,
    ),
    "gpu-autoscaling": Settings(
        image=f"{IMAGE}-gpu",
        storage=Storage(size="500Gi"),
        cpu_worker=Pod(cpus=4, memory="16Gi"),
        redis=Redis(),
        gateway=Gateway(class_name="istio"),
        monitoring=True,
    ),
    "paper-70b": Settings(
        image=f"{IMAGE}-gpu",
        storage=Storage(size="300Gi"),
        gpu_products={"any": ["NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB"]},
        redis=Redis(),
        ingress=Ingress(host="cascade.example.com"),
        monitoring=True,
    ),
}
"""The settings that each overlay starts from."""


def read(overlay: Overlay, path: Path | None = None) -> Settings:
    """Return the overlay's settings, replaced by those of a YAML file. Raises ConfigError if the file is invalid."""
    base = OVERLAYS[overlay]
    if path is None:
        return base
    values = read_yaml(path, "settings file")
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping of settings, got {kind_of(values)}.")
    try:
        return Settings.model_validate(_merged(base.model_dump(), values))
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {sentence}" for sentence in explain(error, Settings, ""))) from None


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the keys of `over`, mappings merged key by key; `null` removes a part."""
    common = {
        key: _merged(base[key], over[key]) for key in base.keys() & over.keys() if _both_mappings(base, over, key)
    }
    return base | over | common


def _both_mappings(base: dict[str, Any], over: dict[str, Any], key: str) -> bool:
    return isinstance(base[key], dict) and isinstance(over[key], dict)
