import pytest

from serve_app.config.deployment import DeploymentOptions
from serve_app.config.workers import check_workers, placed

GPU_WORKER = {"GPU": 1.0, "CPU": 1.0}


def options(**values: object) -> DeploymentOptions:
    return DeploymentOptions.model_validate(values)


def test_the_workers_bundles_are_the_replicas() -> None:
    deployment = placed(options(num_replicas=2), [GPU_WORKER] * 2, "STRICT_PACK")
    assert deployment.bundles() == [{"GPU": 1.0, "CPU": 1.0}, {"GPU": 1.0, "CPU": 1.0}]
    assert (deployment.placement_group_strategy, deployment.num_replicas) == ("STRICT_PACK", 2)


def test_bundles_of_its_own_win() -> None:
    own = options(placement_group_bundles=[{"GPU": 0.5, "CPU": 2}], placement_group_strategy="SPREAD")
    assert placed(own, [GPU_WORKER], "PACK") is own


def test_a_share_of_a_gpu() -> None:
    assert placed(options(ray_actor_options={"num_gpus": 0.25}), [GPU_WORKER], "PACK").bundles() == [
        {"GPU": 0.25, "CPU": 1.0}
    ]


def test_what_the_replica_takes_goes_into_the_first_bundle() -> None:
    actor = {"num_cpus": 2, "memory": 1000, "resources": {"disk": 1}, "accelerator_type": "H100"}
    assert placed(options(ray_actor_options=actor), [GPU_WORKER] * 2, "PACK").bundles() == [
        {"GPU": 1.0, "CPU": 3.0, "memory": 1000, "disk": 1, "accelerator_type:H100": 0.001},
        {"GPU": 1.0, "CPU": 1.0, "accelerator_type:H100": 0.001},
    ]


@pytest.mark.parametrize(
    ("values", "workers", "gpu"),
    [
        ({}, 8, True),
        ({"ray_actor_options": {"num_gpus": 8}}, 8, True),
        ({"ray_actor_options": {"num_gpus": 0.5}}, 1, True),
        ({"placement_group_bundles": [{"CPU": 4}, {"GPU": 1}, {"GPU": 1}]}, 2, True),
        ({"placement_group_bundles": [{"GPU": 0.5, "CPU": 1}]}, 1, True),
        ({"placement_group_bundles": [{"CPU": 2}]}, 1, False),
    ],
)
def test_what_suits(values: dict[str, object], workers: int, gpu: bool) -> None:
    check_workers(options(**values), workers, gpu=gpu)


@pytest.mark.parametrize(
    ("values", "workers", "gpu", "sentence"),
    [
        ({"ray_actor_options": {"num_gpus": 1}}, 4, True, "num_gpus: must be 4, since the model has 4 workers"),
        ({"ray_actor_options": {"num_gpus": 0}}, 1, True, "num_gpus: must be 1, or a share of one, since the model"),
        ({"placement_group_bundles": [{"GPU": 1}] * 2}, 4, True, r"there are 2 with GPUs"),
        ({"placement_group_bundles": [{"GPU": 4}]}, 1, True, "needs a bundle with one GPU"),
        ({"placement_group_bundles": [{"GPU": 1}]}, 1, False, "device is cpu"),
        ({"ray_actor_options": {"accelerator_type": "L4"}}, 1, False, "device is cpu"),
    ],
)
def test_what_does_not(values: dict[str, object], workers: int, gpu: bool, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_workers(options(**values), workers, gpu=gpu)
