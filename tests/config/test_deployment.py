"""What one replica reserves, and which demands are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.config.deployment import Autoscaling, DeploymentOptions, options_of
from serve_app.config.explain import explain
from tests.config.values import problems


def options(
    bundles: list[dict[str, float]] | None = None, strategy: str | None = None, **actor: Any
) -> DeploymentOptions:
    values = {
        "ray_actor_options": actor,
        "placement_group_bundles": bundles,
        "placement_group_strategy": strategy,
    }
    return DeploymentOptions.model_validate(values)


@pytest.mark.parametrize(
    ("deployment", "bundles", "actor"),
    [
        (options(), [{"CPU": 0.1}], {"num_cpus": 0.1}),
        (options(num_gpus=0.25), [{"CPU": 0.1, "GPU": 0.25}], {"num_cpus": 0.1, "num_gpus": 0.25}),
        (options(num_cpus=0), [{"CPU": 0}], {"num_cpus": 0}),
        # The actor is placed in the first bundle and takes it whole.
        (options([{"GPU": 1}]), [{"GPU": 1}], {"num_cpus": 0, "num_gpus": 1}),
        (options([{"CPU": 2}, {"GPU": 1}]), [{"CPU": 2}, {"GPU": 1}], {"num_cpus": 2}),
        (
            options([{"CPU": 2, "GPU": 1}], num_cpus=1, num_gpus=0),
            [{"CPU": 2, "GPU": 1}],
            {"num_cpus": 1, "num_gpus": 0},
        ),
        (
            options([{"CPU": 1}, {"CPU": 1}, {"GPU": 1}], accelerator_type="L4"),
            [{"CPU": 1, "accelerator_type:L4": 0.001}, {"CPU": 1}, {"GPU": 1, "accelerator_type:L4": 0.001}],
            {"num_cpus": 1, "accelerator_type": "L4"},
        ),
        (
            options(num_gpus=1, memory=7, resources={"fast": 2}),
            [{"CPU": 0.1, "GPU": 1, "memory": 7, "fast": 2}],
            {"num_cpus": 0.1, "num_gpus": 1, "memory": 7, "resources": {"fast": 2}},
        ),
    ],
)
def test_bundles_and_actor(
    deployment: DeploymentOptions, bundles: list[dict[str, float]], actor: dict[str, Any]
) -> None:
    assert deployment.bundles() == bundles
    assert options_of(deployment)["ray_actor_options"] == actor


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"ray_actor_options": {"num_gpus": 1.5}},
            "ray_actor_options.num_gpus: must be a fraction of one GPU, or a whole",
        ),
        ({"ray_actor_options": {"num_gpus": -1}}, "ray_actor_options.num_gpus: must be 0 or more, in steps of 0.0001,"),
        (
            {"ray_actor_options": {"num_cpus": 0.00005}},
            "ray_actor_options.num_cpus: must be 0 or more, in steps of 0.000",
        ),
        (
            {"ray_actor_options": {"resources": {"GPU": 1}}},
            "ray_actor_options.resources.GPU: is not a custom resource;",
        ),
        (
            {"ray_actor_options": {"resources": {"fast": 1, "Memory": 1}}},
            "ray_actor_options.resources.Memory: is not a custom resource; use memory.",
        ),
        (
            {"placement_group_bundles": [{"CPU": 1}, {"gpu": 1, "CPU": 1}]},
            "placement_group_bundles[1].gpu: did you mean 'GPU'? Ray's names of resources depend on case.",
        ),
        ({"ray_actor_options": {"num_gpus": True}}, "ray_actor_options.num_gpus: must be a number, got true."),
        ({"ray_actor_options": {"resources": {"fast": True}}}, "ray_actor_options.resources.fast: must be a number, "),
        ({"placement_group_bundles": [{"GPU": True}]}, "placement_group_bundles[0].GPU: must be a number, got true."),
        ({"num_replicas": True}, "num_replicas: must be a number, got true."),
        ({"autoscaling_config": {"min_replicas": False}}, "autoscaling_config.min_replicas: must be a number, got fa"),
        (
            {"placement_group_strategy": "PACK"},
            "placement_group_strategy: has no effect without placement_group_bundles.",
        ),
        ({"placement_group_bundles": []}, "placement_group_bundles: needs at least 1 entry, got 0."),
        ({"placement_group_bundles": [{"CPU": 0}]}, "placement_group_bundles[0]: a bundle must ask for something."),
        (
            {"placement_group_bundles": [{"GPU": 2.5}]},
            "placement_group_bundles[0]: must be a fraction of one GPU, or a",
        ),
        (
            {"placement_group_bundles": [{"GPU": 1}], "ray_actor_options": {"num_cpus": 0.5}},
            "placement_group_bundles[0]: holds 0 CPU, but the replica, which is placed in the first bundle, takes 0.5 "
            "(ray_actor_options.num_cpus).",
        ),
        (
            {"placement_group_bundles": [{"CPU": 1}, {"GPU": 1}], "ray_actor_options": {"num_gpus": 1}},
            "placement_group_bundles[0]: holds 0 GPU, but the replica,",
        ),
        (
            {"placement_group_bundles": [{"CPU": 1}], "ray_actor_options": {"resources": {"fast": 1}}},
            "placement_group_bundles[0]: holds 0 fast, but the replica, which is placed in the first bundle, takes 1 "
            "(ray_actor_options.resources.fast).",
        ),
    ],
)
def test_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DeploymentOptions.model_validate(values)
    (problem,) = explain(caught.value, DeploymentOptions)
    assert problem.startswith(sentence)


def test_deployment_rules():
    assert problems(DeploymentOptions, {"num_replicas": 2, "autoscaling_config": {}}) == [
        "num_replicas: leave it out, since autoscaling_config says how many there are."
    ]
    assert problems(Autoscaling, {"min_replicas": 3, "max_replicas": 2}) == [
        "min_replicas: must be at most max_replicas (2), got 3."
    ]
    assert problems(Autoscaling, {"max_replicas": 4, "initial_replicas": 5}) == [
        "initial_replicas: must be from 1 (min_replicas) to 4 (max_replicas), got 5."
    ]
    assert problems(Autoscaling, {"downscale_to_zero_delay_s": 5}) == [
        "downscale_to_zero_delay_s: has no effect unless min_replicas is 0."
    ]
    assert problems(Autoscaling, {"look_back_period_s": 10}) == [
        "look_back_period_s: must be more than metrics_interval_s (10), got 10."
    ]


class TestOptions:
    def test_what_was_left_out_is_left_to_serve(self):
        assert options_of(DeploymentOptions()) == {
            "max_ongoing_requests": 64,
            "max_queued_requests": -1,
            "ray_actor_options": {"num_cpus": 0.1},
            "graceful_shutdown_timeout_s": 20,
        }

    def test_all(self):
        options = DeploymentOptions.model_validate(
            {
                "autoscaling_config": {"min_replicas": 0, "max_replicas": 3},
                "ray_actor_options": {"num_gpus": 0.5, "accelerator_type": "L4", "resources": {"fast": 1}, "memory": 5},
                "placement_group_bundles": [{"CPU": 2, "GPU": 1, "fast": 1, "memory": 5}, {"fast": 1}],
                "placement_group_strategy": "PACK",
            }
        )
        got = options_of(options)
        assert "num_replicas" not in got
        assert (got["autoscaling_config"]["min_replicas"], got["autoscaling_config"]["max_replicas"]) == (0, 3)
        assert "initial_replicas" not in got["autoscaling_config"]
        assert got["ray_actor_options"] == {
            "num_cpus": 2,
            "num_gpus": 0.5,
            "memory": 5,
            "accelerator_type": "L4",
            "resources": {"fast": 1},
        }
        first = {"CPU": 2, "GPU": 1, "fast": 1, "memory": 5, "accelerator_type:L4": 0.001}
        assert (got["placement_group_bundles"], got["placement_group_strategy"]) == ([first, {"fast": 1}], "PACK")
