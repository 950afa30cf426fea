"""What a config requires of a cluster: replicas, resources and memory of every deployment. It starts nothing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from math import ceil
from typing import Literal, TypeAlias

from serve_app.config import AppConfig, LlamaCppModel, ModelConfig, Seq2SeqModel, VllmModel
from serve_app.config.deployment import ACCELERATOR, FIELDS, Bundle, DeploymentOptions, Strategy
from serve_app.config.serve_file import ServeFile
from serve_app.config.services import STATE_STORE
from serve_app.planning.queues import Queue, queue_of

Kind: TypeAlias = Literal["model", "signal", "scorer", "store", "router"]
When: TypeAlias = Literal["min", "initial", "max"]
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of one parameter."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas a deployment has: least, when it starts, most. All equal if the number is fixed."""

    min: int
    initial: int
    max: int


@dataclass(frozen=True, slots=True)
class Weights:
    """An estimate of one replica's model weights, spread over `gpus` (0: on CPU). `basis` says how it was estimated."""

    bytes: int
    basis: str
    gpus: int = 0

    @property
    def bytes_per_gpu(self) -> int | None:
        """Return the bytes of weights on each GPU, or None on CPU."""
        return -(-self.bytes // self.gpus) if self.gpus else None


@dataclass(frozen=True, slots=True)
class Placement:
    """One deployment: `bundles` are what a single replica reserves, each on one node, together by `strategy`.

    `gpu_memory_utilization` is the share of each GPU that vLLM fills with weights and KV cache, whatever weights need.
    `queue` is a model's.
    """

    name: str
    kind: Kind
    engine: str
    replicas: Replicas
    bundles: tuple[Bundle, ...]
    strategy: Strategy = "PACK"
    accelerator_type: str | None = None
    weights: Weights | None = None
    gpu_memory_utilization: float | None = None
    queue: Queue | None = None

    @property
    def resources(self) -> Bundle:
        """Return what one replica reserves in all, by Ray's names; the mark of an accelerator type is left out."""
        return total(self.bundles)


@dataclass(frozen=True, slots=True)
class Plan:
    """Every deployment of a config, in the order of the graph: models, signals apart, scorer, shared state, router."""

    placements: tuple[Placement, ...]

    def totals(self, when: When) -> Bundle:
        """Return what all replicas reserve at the least, at the start or at the most."""
        return total(
            scaled(placement.resources, count) for placement, count in zip(self, self.counts(when), strict=True)
        )

    def counts(self, when: When) -> list[int]:
        """Return the replicas of each placement."""
        return [getattr(placement.replicas, when) for placement in self]

    def __iter__(self) -> Iterator[Placement]:
        return iter(self.placements)


def plan_of(file: ServeFile, file_bytes: Mapping[str, int] | None = None) -> Plan:
    """Return the plan of a config file, with its `deployments` and its `target_capacity` applied, as Ray Serve does.

    `file_bytes` are the sizes of model files that are already on this machine, by model.
    """
    args, sizes = file.application.args, file_bytes or {}
    options = file.application.deployments_in_force()
    return Plan(tuple(_placement(args, name, options[name], file.target_capacity, sizes) for name in options))


def total(bundles: Iterable[Mapping[str, float]]) -> Bundle:
    """Return the sum by resource, to Ray's ten-thousandth, without resources of which nothing is required."""
    sums: dict[str, float] = {}
    for bundle in bundles:
        for resource, amount in bundle.items():
            if not resource.startswith(ACCELERATOR):
                sums[resource] = round(sums.get(resource, 0) + amount, 4)
    return {resource: sums[resource] for resource in sorted(sums, key=order) if sums[resource]}


def order(resource: str) -> tuple[bool, str]:
    """Return a sort key: CPU, GPU and memory before the cluster's own resources."""
    return resource not in FIELDS, resource


def cautions(plan: Plan) -> list[str]:
    """Return warnings about shared GPUs: Ray counts shares, but does not keep a model within its own."""
    return [
        f"{p.name!r} asks for {share:g} of a GPU, but vLLM will fill {p.gpu_memory_utilization:g} of it: lower its "
        "gpu_memory_utilization"
        for p in plan
        if p.gpu_memory_utilization
        and (share := min(bundle.get("GPU") or 1 for bundle in p.bundles)) < p.gpu_memory_utilization
    ]


def scaled(bundle: Bundle, count: int) -> Bundle:
    """Return `count` times as much."""
    return {resource: amount * count for resource, amount in bundle.items()}


def _placement(
    args: AppConfig,
    name: str,
    options: DeploymentOptions,
    target_capacity: float | None,
    file_bytes: Mapping[str, int],
) -> Placement:
    kind, engine = _role(args, name)
    return Placement(
        name=name,
        kind=kind,
        engine=engine,
        replicas=_replicas(options, target_capacity),
        bundles=tuple(options.bundles()),
        strategy=options.placement_group_strategy or "PACK",
        accelerator_type=options.ray_actor_options.accelerator_type,
        weights=_weights(args.models.get(name), options, file_bytes.get(name)),
        gpu_memory_utilization=_gpu_share(args.models.get(name)),
        queue=queue_of(args, name) if name in args.models else None,
    )


def _role(args: AppConfig, name: str) -> tuple[Kind, str]:
    if name in args.models:
        return "model", args.models[name].engine
    if name in args.isolated():
        return "signal", args.isolated()[name].kind
    kinds: dict[str, Kind] = {"Scorer": "scorer", STATE_STORE: "store", "Router": "router"}
    return kinds[name], ""


def _gpu_share(model: ModelConfig | None) -> float | None:
    return model.gpu_memory_utilization if isinstance(model, VllmModel) and model.device == "gpu" else None


def _replicas(options: DeploymentOptions, target_capacity: float | None) -> Replicas:
    if scaling := options.autoscaling_config:
        first = scaling.min_replicas if scaling.initial_replicas is None else scaling.initial_replicas
        counts = (scaling.min_replicas, first, scaling.max_replicas)
    else:
        counts = (options.num_replicas or 1,) * 3
    return Replicas(*(_at_capacity(count, target_capacity) for count in counts))


def _at_capacity(count: int, percent: float | None) -> int:
    """Apply Serve's `target_capacity`: rounded half up, and at least 1 unless the percentage or count is 0."""
    if percent is None or count == 0 or percent == 0:
        return 0 if percent == 0 else count
    return max(1, int((Decimal(count) * Decimal(percent) / 100).to_integral_value(ROUND_HALF_UP)))


def _weights(model: ModelConfig | None, options: DeploymentOptions, file_bytes: int | None) -> Weights | None:
    """Return the size of a model's weights, or None if it can only be guessed, as for quantized ones."""
    gpus = ceil(total(options.bundles()).get("GPU", 0))
    if isinstance(model, LlamaCppModel) and file_bytes is not None:
        return Weights(file_bytes, "file", gpus)
    dtype = None
    if isinstance(model, VllmModel) and model.quantization is None:
        dtype = "bfloat16" if model.dtype == "auto" else model.dtype
    elif isinstance(model, Seq2SeqModel):
        dtype = model.dtype
    if model is None or model.parameters is None or dtype is None:
        return None
    basis = f"parameters x {BYTES[dtype]} bytes, {dtype}"
    if isinstance(model, VllmModel) and model.draft_model is not None:
        basis += f", without its draft {model.draft_model}"
    return Weights(round(model.parameters * BYTES[dtype]), basis, gpus)
