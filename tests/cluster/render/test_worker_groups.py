"""Which pods a plan needs: figures worked by hand."""

from dataclasses import replace

import pytest

from serve_app.cluster.render.worker_groups import WorkerGroup, cautions, worker_groups
from serve_app.cluster.settings import GpuPod, Pod, Settings
from serve_app.config.deployment import Bundle
from serve_app.errors import ConfigError
from serve_app.planning.feasibility import NodeGroup, fits
from serve_app.planning.plan import Placement, Plan, Replicas
from tests.cluster.overlays import CONFIGS, rendered

GB = 10**9
SETTINGS = Settings(
    cpu_worker=Pod(cpus=4, memory="8Gi"), gpu_worker=GpuPod(cpus_per_gpu=8, memory_per_gpu="64Gi"), gpus_per_node=8
)


def placed(name: str, *bundles: Bundle, replicas: tuple[int, int, int] = (1, 1, 1), **more: str) -> Placement:
    return Placement(name, "model", "vllm", Replicas(*replicas), bundles, **more)


def figures(group: WorkerGroup) -> tuple:
    return group.name, (group.pods.min, group.pods.initial, group.pods.max), group.gpus, group.cpus, group.ray_cpus


TP4 = [{"GPU": 1, "CPU": 1}] * 4
H100 = [bundle | {"accelerator_type:H100": 0.001} for bundle in TP4]
TABLE = [
    # Without GPUs: as many pods of 4 CPUs as the replicas fill.
    ([placed("a", {"CPU": 3}, replicas=(1, 2, 3))], [("cpu", (1, 2, 3), 0, 4, 4)]),
    ([placed("a", {"CPU": 2}, replicas=(0, 0, 4))], [("cpu", (0, 0, 2), 0, 4, 4)]),
    # One replica larger than the pod of the settings makes the pod larger.
    ([placed("a", {"CPU": 6})], [("cpu", (1, 1, 1), 0, 6, 6)]),
    # Fixed numbers that one node holds: one pod, with no GPU too many.
    ([placed("a", {"GPU": 0.5}), placed("b", {"GPU": 0.4}), placed("c", *TP4)], [("gpu", (1, 1, 1), 5, 40, 4)]),
    # Fractions that add up to 1.2 but do not go together on two GPUs: a third.
    ([placed(n, {"GPU": 0.7, "CPU": 1}) for n in "abc"], [("gpu", (1, 1, 1), 3, 24, 3)]),
    # What scales has pods of its own shape: a pod a replica, or two halves a pod.
    ([placed("a", {"GPU": 0.5, "CPU": 1}, replicas=(1, 1, 5))], [("gpu", (1, 1, 3), 1, 8, 2)]),
    ([placed("a", *TP4, replicas=(0, 0, 3), strategy="STRICT_PACK")], [("gpu", (0, 0, 3), 4, 32, 4)]),
    (
        [placed("a", {"GPU": 1, "CPU": 1}, replicas=(1, 1, 2)), placed("b", *TP4, replicas=(0, 0, 1))],
        [("gpu-x1", (1, 1, 2), 1, 8, 1), ("gpu-x4", (0, 0, 1), 4, 32, 4)],
    ),
    # Accelerator types and custom resources apart.
    (
        [placed("a", {"GPU": 1, "accelerator_type:L4": 0.001}), placed("b", *H100)],
        [("gpu-h100", (1, 1, 1), 4, 32, 4), ("gpu-l4", (1, 1, 1), 1, 8, 1)],
    ),
    (
        [placed("a", {"GPU": 1}), placed("b", {"GPU": 1, "CPU": 1, "big_disk": 0.5}, replicas=(3, 3, 3))],
        [("gpu", (1, 1, 1), 1, 8, 1), ("gpu-big-disk", (1, 1, 1), 3, 24, 3)],
    ),
    # 16 GPUs on nodes of 8, and one GPU a node.
    ([placed("a", *TP4 * 4, strategy="PACK")], [("gpu", (2, 2, 2), 8, 64, 8)]),
    ([placed("a", *TP4, strategy="STRICT_SPREAD")], [("gpu", (4, 4, 4), 1, 8, 1)]),
]


@pytest.mark.parametrize(("placements", "expected"), TABLE)
def test_pods_of_a_plan(placements: list[Placement], expected: list[tuple]) -> None:
    assert [figures(group) for group in worker_groups(Plan(tuple(placements)), SETTINGS)] == expected


def test_memory_that_a_replica_reserves_makes_the_pod_larger() -> None:
    [small] = worker_groups(Plan((placed("a", {"CPU": 1, "memory": 2 * GB}),)), SETTINGS)
    [large] = worker_groups(Plan((placed("a", {"CPU": 1, "memory": 20 * GB}),)), SETTINGS)
    assert (small.memory, large.memory) == (8 * 2**30, 20 * GB)


def test_a_replica_that_no_node_can_hold() -> None:
    with pytest.raises(ConfigError, match=r"'a' needs 16 GPUs on one node, more than gpus_per_node \(8\)"):
        worker_groups(Plan((placed("a", *TP4 * 4, strategy="STRICT_PACK"),)), SETTINGS)


def test_caution_where_small_replicas_may_land_on_large_pods() -> None:
    shapes = [placed("a", {"GPU": 1}, replicas=(1, 1, 2)), placed("b", *TP4, replicas=(0, 0, 1))]
    [sentence] = cautions(worker_groups(Plan(tuple(shapes)), SETTINGS))
    assert "'gpu-x1' and 'gpu-x4'" in sentence
    apart = [placed("a", {"GPU": 1, "accelerator_type:L4": 0.001}), placed("b", *H100)]
    assert cautions(worker_groups(Plan(tuple(apart)), SETTINGS)) == []


@pytest.mark.parametrize(
    ("overlay", "gpus"),
    [
        ("cpu-demo", (0, 0, 0)),
        ("gpu-single-node", (1, 1, 1)),  # shares of 0.12, 0.12, 0.06, 0.65 and 0.05
        ("gpu-autoscaling", (2, 2, 16)),  # at the most 4 x (0.6 + 0.4) + 4 x 1, and 2 x 4
        ("paper-70b", (5, 5, 5)),  # 0.3 + 0.3 + 0.2 + 0.15, and 4
    ],
)
def test_gpus_of_the_committed_overlays(overlay: str, gpus: tuple[int, int, int]) -> None:
    groups = rendered(overlay).groups
    assert (
        sum(group.pods.min * group.gpus for group in groups),
        sum(group.pods.initial * group.gpus for group in groups),
        sum(group.pods.max * group.gpus for group in groups),
    ) == gpus


@pytest.mark.parametrize("when", ["min", "initial", "max"])
@pytest.mark.parametrize("overlay", CONFIGS)
def test_the_plan_of_an_overlay_fits_its_pods(overlay: str, when: str) -> None:
    """All groups at once, as `cascade plan` places them on such nodes."""
    groups = rendered(overlay).groups
    counts = [(p, getattr(p.replicas, when)) for group in groups for p in group.placements]
    plan = Plan(tuple(replace(p, replicas=Replicas(n, n, n)) for p, n in counts))
    nodes = [NodeGroup(g.name, g.room(), n, n) for g in groups if (n := getattr(g.pods, when))]
    fit = fits(plan, nodes)
    assert (fit.impossible, fit.warnings) == ((), ())
