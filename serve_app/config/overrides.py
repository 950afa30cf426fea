"""Ray Serve options in the file's `deployments`, which take precedence over those in `args`."""

from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field

from serve_app.config.deployment import ActorOptions, Autoscaling, DeploymentOptions, Strategy, options_of
from serve_app.config.services import STATE_STORE
from serve_app.config.strict import Strict

AUTO = {"min_replicas": 1, "max_replicas": 100}
"""Ray Serve's bounds for `num_replicas: auto`."""
CPUS_OF_RAY = 1
"""Ray Serve's default if the file's `ray_actor_options` do not set num_cpus."""


class DeploymentOverride(Strict):
    """One entry of an application's `deployments`: the keys of Ray Serve's own `DeploymentSchema`."""

    name: str = Field(description="The deployment: a model, Scorer, Router, StateStore, or a signal's own.")
    num_replicas: int | Literal["auto"] | None = None
    max_ongoing_requests: int | None = None
    max_queued_requests: int | None = None
    backpressure_config: dict[str, Any] | None = None
    user_config: dict[str, Any] | None = Field(
        None, description="Of the Router: thresholds and calibrations, changed without a restart."
    )
    autoscaling_config: dict[str, Any] | None = None
    graceful_shutdown_wait_loop_s: float | None = None
    graceful_shutdown_timeout_s: float | None = None
    health_check_period_s: float | None = None
    health_check_timeout_s: float | None = None
    ray_actor_options: dict[str, Any] | None = None
    placement_group_bundles: list[dict[str, float]] | None = None
    placement_group_strategy: Strategy | None = None
    placement_group_bundle_label_selector: list[dict[str, str]] | None = None
    max_replicas_per_node: int | None = None
    logging_config: dict[str, Any] | None = None
    request_router_config: dict[str, Any] | None = None
    gang_scheduling_config: dict[str, Any] | None = None
    deployment_actors: list[dict[str, Any]] | None = None
    rolling_update_percentage: float | None = None
    max_surge_percent: int | None = None

    def applied_to(self, options: DeploymentOptions) -> DeploymentOptions:
        """Return the options in force, merged as Ray Serve merges: key by key, the file's whole value.

        Raises ValueError if the two contradict each other (pydantic's ValidationError is one).
        """
        values: dict[str, Any] = {key: getattr(options, key) for key in DeploymentOptions.model_fields}
        values |= {"ray_actor_options": options_of(options)["ray_actor_options"]}
        values |= {key: getattr(self, key) for key in self.model_fields_set & {*values}}
        if self.ray_actor_options is not None:
            values["ray_actor_options"] = {"num_cpus": CPUS_OF_RAY} | _placing(self.ray_actor_options, ActorOptions)
        scaling = self._autoscaling(options)
        if isinstance(self.num_replicas, int) and scaling is not None:
            raise ValueError("num_replicas: has no effect beside an autoscaling_config, here or in `args`, which wins")
        replicas = self.num_replicas if "num_replicas" in self.model_fields_set else options.num_replicas
        values |= {"autoscaling_config": scaling, "num_replicas": replicas if scaling is None else None}
        result = DeploymentOptions.model_validate(values)
        if self.placement_group_bundles is not None and result.bundles() != self.placement_group_bundles:
            # In `args` that is added for the user; the file's own bundles go to Ray as they are.
            raise ValueError(f"placement_group_bundles: Ray needs the accelerator type in them: {result.bundles()}")
        return result

    def _autoscaling(self, options: DeploymentOptions) -> dict[str, Any] | None:
        """Return the bounds in force, or None if the number of replicas is fixed."""
        base = options.autoscaling_config.model_dump(exclude_none=True) if options.autoscaling_config else None
        settings = self.autoscaling_config if "autoscaling_config" in self.model_fields_set else base
        if self.num_replicas == "auto":
            settings = AUTO | (self.autoscaling_config or base or {})
        return None if settings is None else _placing(settings, Autoscaling)


def check_shared(name: str, in_force: DeploymentOptions, deployments: Collection[str]) -> None:
    """Raise ValueError if router replicas would not share what they keep, which the graph of `args` decides."""
    if name == STATE_STORE and (in_force.most_replicas > 1 or in_force.autoscaling_config is not None):
        raise ValueError("num_replicas: the StateStore must have one replica, which all routers share")
    if name == "Router" and in_force.most_replicas > 1 and STATE_STORE not in deployments:
        raise ValueError(
            "num_replicas: several routers share kept responses and sessions only if `args` says how many there are: "
            "write the replicas into args.router.deployment"
        )


def _placing(values: dict[str, Any], model: type[Strict]) -> dict[str, Any]:
    """Return the values without Ray's keys that do not affect placement."""
    return {key: value for key, value in values.items() if key in model.model_fields}
