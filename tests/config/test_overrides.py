"""`deployments` of the file over the options in `args`, as Ray Serve merges them."""

from typing import Any

import pytest

from serve_app.config.deployment import DeploymentOptions
from serve_app.config.overrides import DeploymentOverride

BUNDLES = [{"CPU": 1, "GPU": 1}]


def over(args: dict[str, Any], **written: Any) -> DeploymentOptions:
    return DeploymentOverride.model_validate({"name": "a"} | written).applied_to(DeploymentOptions.model_validate(args))


def bounds(options: DeploymentOptions) -> tuple[int, int] | int | None:
    scaling = options.autoscaling_config
    return (scaling.min_replicas, scaling.max_replicas) if scaling else options.num_replicas


@pytest.mark.parametrize(
    ("args", "written", "expected"),
    [
        ({"num_replicas": 2}, {}, 2),
        ({"num_replicas": 2}, {"num_replicas": 3}, 3),
        ({"num_replicas": 2}, {"num_replicas": None}, None),
        ({"num_replicas": 2}, {"autoscaling_config": {"max_replicas": 4, "look_back_period_s": 60}}, (1, 4)),
        ({}, {"num_replicas": "auto"}, (1, 100)),
        ({}, {"num_replicas": "auto", "autoscaling_config": {"min_replicas": 0}}, (0, 100)),
        ({"autoscaling_config": {"max_replicas": 5}}, {"num_replicas": "auto"}, (1, 5)),
        ({"autoscaling_config": {"max_replicas": 5}}, {"max_queued_requests": 5}, (1, 5)),
        ({"autoscaling_config": {"max_replicas": 5}}, {"autoscaling_config": None, "num_replicas": 2}, 2),
    ],
)
def test_replicas(args: dict[str, Any], written: dict[str, Any], expected: Any) -> None:
    assert bounds(over(args, **written)) == expected


@pytest.mark.parametrize(
    ("args", "written", "expected"),
    [
        ({"ray_actor_options": {"num_gpus": 1}}, {}, [{"CPU": 0.1, "GPU": 1}]),
        # The file's options are taken whole, and Ray's own default is one CPU.
        ({"ray_actor_options": {"num_gpus": 1}}, {"ray_actor_options": {"memory": 9}}, [{"CPU": 1, "memory": 9}]),
        ({"ray_actor_options": {"num_gpus": 1}}, {"ray_actor_options": {"num_cpus": 0.5}}, [{"CPU": 0.5}]),
        ({"placement_group_bundles": BUNDLES}, {"num_replicas": 2}, BUNDLES),
        ({"placement_group_bundles": BUNDLES}, {"placement_group_bundles": BUNDLES * 2}, BUNDLES * 2),
        ({}, {"placement_group_bundles": [{"CPU": 4}], "placement_group_strategy": "SPREAD"}, [{"CPU": 4}]),
    ],
)
def test_resources(args: dict[str, Any], written: dict[str, Any], expected: Any) -> None:
    assert over(args, **written).bundles() == expected


def test_limits_stay_unless_the_file_says_otherwise() -> None:
    limits = {"max_ongoing_requests": 1000, "max_queued_requests": 7, "graceful_shutdown_timeout_s": 60}
    assert over(limits, user_config={}).model_dump(include=limits.keys()) == limits
    written = {"max_ongoing_requests": 5, "graceful_shutdown_timeout_s": 0}
    assert over(limits, **written).model_dump(include=limits.keys()) == limits | written


@pytest.mark.parametrize(
    ("args", "written", "sentence"),
    [
        ({"autoscaling_config": {}}, {"num_replicas": 2}, "^num_replicas: has no effect beside an autoscaling_config"),
        (
            {},
            {"num_replicas": 2, "autoscaling_config": {}},
            "^num_replicas: has no effect beside an autoscaling_config",
        ),
        (
            {"ray_actor_options": {"accelerator_type": "L4"}},
            {"placement_group_bundles": BUNDLES},
            r"^placement_group_bundles: Ray needs the accelerator type in them: .*'accelerator_type:L4': 0.001",
        ),
    ],
)
def test_what_does_not_go_together(args: dict[str, Any], written: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        over(args, **written)
