"""How a deployment runs, in Ray Serve's terms: replicas, autoscaling, resources, placement."""

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, PositiveInt, field_validator, model_validator

from serve_app.config.strict import Strict

CPUS = 0.1
"""Default of logical CPUs for a replica, so that many fit a small machine."""
ACCELERATOR = "accelerator_type:"
ACCELERATOR_MARK = 0.001
FIELDS = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
"""Ray's names of resources in bundles, and in `ray_actor_options`."""

Strategy: TypeAlias = Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]
Bundle: TypeAlias = dict[str, float]
"""Amounts by Ray's names of resources: CPU, GPU, memory (bytes), `accelerator_type:L4`, the cluster's own."""


def _check_amount(amount: float) -> float:
    if amount < 0 or abs(amount * 10_000 - round(amount * 10_000)) > 1e-6:
        raise ValueError("must be 0 or more, in steps of 0.0001, as Ray counts resources")
    return amount


def _check_gpus(amount: float) -> float:
    if amount > 1 and amount != int(amount):
        raise ValueError("must be a fraction of one GPU, or a whole number")
    return amount


Amount: TypeAlias = Annotated[float, AfterValidator(_check_amount)]
GpuAmount: TypeAlias = Annotated[Amount, AfterValidator(_check_gpus)]


def _check_resources(resources: dict[str, float]) -> dict[str, float]:
    """Raise ValueError for a resource of Ray's in the wrong case: it would be a custom one that no node has."""
    rays = {name.lower(): name for name in FIELDS}
    for name in resources:
        if (meant := rays.get(name.lower(), name)) != name:
            raise ValueError(f"{name}: did you mean {meant!r}? Ray's names of resources depend on case")
    return resources


Resources: TypeAlias = Annotated[dict[str, Amount], AfterValidator(_check_resources)]
"""A `Bundle` as a user writes it."""


def _check_bundle(bundle: dict[str, float]) -> dict[str, float]:
    if not any(bundle.values()):
        raise ValueError("a bundle must ask for something")
    _check_gpus(bundle.get("GPU", 0))
    return bundle


class ActorOptions(Strict):
    """What one replica's actor takes. CPUs are logical: they place replicas, they do not limit threads.

    With `placement_group_bundles` the actor is placed in the first bundle, and by default takes all that it has.
    """

    num_cpus: Amount | None = Field(None, description=f"Logical CPUs. Default: {CPUS}, with bundles the first one's.")
    num_gpus: GpuAmount | None = Field(
        None, description="GPUs; a fraction shares one. Default: 0, with bundles the first one's."
    )
    memory: int | None = Field(None, gt=0, description="Bytes of memory to reserve for a replica.")
    accelerator_type: str | None = Field(None, description="Ray's name of a GPU type, such as L4 or A100-80G.")
    resources: dict[str, Amount] = Field({}, description="Custom resources of the cluster.")

    @field_validator("resources")
    @classmethod
    def _custom(cls, resources: dict[str, float]) -> dict[str, float]:
        fields = {name.lower(): field for name, field in FIELDS.items()}
        for name in resources:
            if field := fields.get(name.lower()):
                raise ValueError(f"{name}: is not a custom resource; use {field}")
        return resources


class Autoscaling(Strict):
    """Ray Serve's autoscaling, by requests in flight; under the application's `autoscaling_policy` also by deferral."""

    min_replicas: int = Field(1, ge=0, description="Replicas at the least; 0 lets the model sleep.")
    max_replicas: PositiveInt = Field(1, description="Replicas at the most.")
    initial_replicas: int | None = Field(None, ge=0, description="Replicas at the start. Default: min_replicas.")
    target_ongoing_requests: float = Field(2, gt=0, description="Requests in flight that one replica should have.")
    upscale_delay_s: float = Field(30, ge=0, description="Load must ask for more that long; from 0 replicas at once.")
    downscale_delay_s: float = Field(600, ge=0, description="Load must ask for less that long.")
    downscale_to_zero_delay_s: float | None = Field(
        None, ge=0, description="The same for the last replica, if min_replicas is 0. Default: downscale_delay_s."
    )
    upscaling_factor: float = Field(1, gt=0, description="Share of the missing replicas that are added in one step.")
    downscaling_factor: float = Field(1, gt=0, description="Share of the spare replicas that are removed in one step.")
    metrics_interval_s: float = Field(10, gt=0, description="How often replicas and callers report their load.")
    look_back_period_s: float = Field(30, gt=0, description="The reports of that time make up the load.")
    aggregation_function: Literal["mean", "max", "min"] = Field(
        "mean", description="What of the reports of that time is the load."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas: must be at most max_replicas ({self.max_replicas}), got {self.min_replicas}"
            )
        first = self.min_replicas if self.initial_replicas is None else self.initial_replicas
        if not self.min_replicas <= first <= self.max_replicas:
            limits = f"{self.min_replicas} (min_replicas) to {self.max_replicas} (max_replicas)"
            raise ValueError(f"initial_replicas: must be from {limits}, got {first}")
        if self.downscale_to_zero_delay_s is not None and self.min_replicas:
            raise ValueError("downscale_to_zero_delay_s: has no effect unless min_replicas is 0")
        if self.look_back_period_s <= self.metrics_interval_s:
            interval = f"metrics_interval_s ({self.metrics_interval_s:g})"
            raise ValueError(f"look_back_period_s: must be more than {interval}, got {self.look_back_period_s:g}")
        return self


class DeploymentOptions(Strict):
    """How one deployment runs, in Ray Serve's terms."""

    num_replicas: PositiveInt | None = Field(None, description="A fixed number of replicas (1 if unset).")
    autoscaling_config: Autoscaling | None = Field(None, description="Replicas by load; null: a fixed number.")
    max_ongoing_requests: PositiveInt = Field(64, description="Requests that one replica works on or holds at once.")
    max_queued_requests: int = Field(
        -1, ge=-1, description="Requests a caller may queue before it is refused; -1: any."
    )
    ray_actor_options: ActorOptions = Field(ActorOptions(), description="What one replica takes.")
    placement_group_bundles: (
        Annotated[list[Annotated[Resources, AfterValidator(_check_bundle)]], Field(min_length=1)] | None
    ) = Field(None, description="What one replica reserves, bundle by bundle; each lies on one node.")
    placement_group_strategy: Strategy | None = Field(None, description="How bundles share nodes. Default: PACK.")
    graceful_shutdown_timeout_s: float = Field(
        20, ge=0, description="Seconds that a stopping replica gives the requests that it has."
    )

    @model_validator(mode="after")
    def _one_way_to_scale(self) -> Self:
        if self.num_replicas is not None and self.autoscaling_config is not None:
            raise ValueError("num_replicas: leave it out, since autoscaling_config says how many there are")
        return self

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.placement_group_bundles is None:
            if self.placement_group_strategy is not None:
                raise ValueError("placement_group_strategy: has no effect without placement_group_bundles")
            return self
        first = self.placement_group_bundles[0]
        for resource, (field, amount) in self._explicit().items():
            if amount > first.get(resource, 0):
                holds = f"{first.get(resource, 0):g} {resource}"
                raise ValueError(
                    f"placement_group_bundles[0]: holds {holds}, but the replica, which is placed in the first bundle, "
                    f"takes {amount:g} ({field})"
                )
        return self

    @property
    def most_replicas(self) -> int:
        """Return the maximum number of replicas."""
        scaling = self.autoscaling_config
        return scaling.max_replicas if scaling else self.num_replicas or 1

    def _explicit(self) -> dict[str, tuple[str, float]]:
        """Return field and amount of what is written in `ray_actor_options`, by Ray's name of the resource."""
        actor = self.ray_actor_options
        amounts = {"CPU": actor.num_cpus, "GPU": actor.num_gpus, "memory": actor.memory}
        explicit = {
            resource: (f"ray_actor_options.{FIELDS[resource]}", float(amount))
            for resource, amount in amounts.items()
            if amount is not None
        }
        return explicit | {name: (f"ray_actor_options.resources.{name}", n) for name, n in actor.resources.items()}

    def actor(self) -> Bundle:
        """Return what one replica's actor takes, by Ray's names of the resources."""
        first = (self.placement_group_bundles or [{"CPU": CPUS}])[0]
        default = {"CPU": first.get("CPU", 0.0)} | ({"GPU": first["GPU"]} if "GPU" in first else {})
        return default | {resource: amount for resource, (_, amount) in self._explicit().items()}

    def bundles(self) -> list[Bundle]:
        """Return what one replica reserves: its placement group, or one bundle with what its actor takes.

        An accelerator type is a resource too, of which Ray takes a thousandth; an actor that asks for the type finds no
        room in a bundle without it.
        """
        kind = self.ray_actor_options.accelerator_type
        bundles = self.placement_group_bundles or [self.actor()]
        mark = {ACCELERATOR + kind: ACCELERATOR_MARK} if kind else {}
        return [bundle | (mark if number == 0 or bundle.get("GPU") else {}) for number, bundle in enumerate(bundles)]


def options_of(deployment: DeploymentOptions) -> dict[str, Any]:
    """Return keyword arguments for `serve.deployment`, without what is left to Ray Serve's own defaults."""
    options = deployment.model_dump(exclude_none=True)
    actor = deployment.actor()
    options["ray_actor_options"] |= {
        FIELDS[resource]: actor[resource] for resource in ("CPU", "GPU") if resource in actor
    }
    if not options["ray_actor_options"]["resources"]:
        del options["ray_actor_options"]["resources"]
    if deployment.placement_group_bundles is not None:
        options["placement_group_bundles"] = deployment.bundles()
    return options
