"""A vllm model's configuration as arguments of `ray.serve.llm.LLMConfig`. Pure: neither Ray nor vLLM is needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serve_app.config import VllmModel
from serve_app.config.deployment import options_of
from serve_app.engines.vllm.config import llm_config_kwargs

PLACEMENT = ("placement_group_bundles", "placement_group_strategy")
PREFIX_ROUTING = {
    "request_router_class": "serve_app.deployments.vllm.prefix_routing.PromptPrefixRouter",
    # Ray's own defaults send all requests that share a prefix to one replica, and keep all prompts indefinitely.
    "request_router_kwargs": {"imbalanced_threshold": 10, "do_eviction": True},
}
"""Serve's `request_router_config`. The threshold is in requests: past that lead, load decides and not the prefix."""


def llm_arguments(
    name: str, model: VllmModel, source: str, adapters: Mapping[str, Path] | None = None
) -> dict[str, Any]:
    """Return keyword arguments for `LLMConfig`. `source` is the folder of the weights if it is known, else their URI.

    `adapters` are the folders of the model's adapters, which only its replica knows. Raises `EngineError` if one is not
    an adapter. The bundles hold all that a replica and its workers take, so the replica's actor needs nothing more.
    """
    options = model.placed()
    deployment = options_of(options)
    for moved in PLACEMENT:
        deployment.pop(moved, None)
    if "autoscaling_config" not in deployment:
        deployment.setdefault("num_replicas", 1)
    deployment["ray_actor_options"] = {"num_cpus": 0}
    if model.routing == "prefix":
        deployment["request_router_config"] = PREFIX_ROUTING
    bundles, strategy = options.bundles(), options.placement_group_strategy or "PACK"
    return llm_config_kwargs(model, name, source, bundles, strategy, adapters) | {
        "accelerator_type": options.ray_actor_options.accelerator_type,
        "deployment_config": deployment,
    }
