"""What an edit of a live RayService brings about."""

from typing import Any

import pytest

from serve_app.cluster.live.edit_warnings import accelerators, warnings
from tests.cluster.kubectl import Body, ray_service


def changed(**spec: Any) -> Body:
    service = ray_service()
    return service | {"spec": service["spec"] | spec}


GROUP = ray_service()["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
TOLERANT = GROUP["template"] | {"spec": GROUP["template"]["spec"] | {"tolerations": [{"operator": "Exists"}]}}


def with_groups(*groups: Body) -> Body:
    return changed(rayClusterConfig=ray_service()["spec"]["rayClusterConfig"] | {"workerGroupSpecs": list(groups)})


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (ray_service(), []),
        (changed(serveConfigV2="applications: []"), []),
        (ray_service(replicas=3), ["a100.replicas will not take effect: a live cluster keeps its own."]),
        (
            ray_service(minReplicas=1, maxReplicas=9),
            ["a100.minReplicas, a100.maxReplicas will not take effect: a live cluster keeps its own."],
        ),
        (ray_service(template=TOLERANT), ["a100.tolerations will not take effect: a live cluster keeps its own."]),
        (with_groups(GROUP, GROUP | {"groupName": "h100"}), []),
        (
            ray_service(image="ray:2", strategy="None"),
            ["rayClusterConfig will not take effect: with upgradeStrategy.type None the cluster stays as it is."],
        ),
        (
            ray_service(image="ray:2", strategy="NewClusterWithIncrementalUpgrade"),
            [
                "rayClusterConfig changes: a second cluster grows by steps, up to 100% beyond the first's 8 GPUs.",
            ],
        ),
        (
            ray_service(image="ray:2", gpus=1),
            [
                "rayClusterConfig changes, so a second cluster is built beside the first until it serves: for a while "
                "both need GPUs, 8 + 2 = 10, up to 12.",
            ],
        ),
    ],
)
def test_what_an_edit_of_a_ray_service_brings_about(after: Body, expected: list[str]) -> None:
    assert warnings(ray_service(), after) == [f"RayService/cascade: {line}" for line in expected]


def test_the_first_clusters_gpus_are_those_it_has_now() -> None:
    status = {"activeServiceStatus": {"rayClusterStatus": {"desiredGPU": "12"}}}
    (line,) = warnings(ray_service() | {"status": status}, ray_service(image="ray:2"))
    assert line.endswith("for a while both need GPUs, 12 + 8 = 20, up to 28.")


def test_gpus_of_groups_of_several_hosts_and_without_a_bound() -> None:
    # 2 replicas of 2 hosts with 4 GPUs each; the CRD's own bound is none.
    config = ray_service(numOfHosts=2, maxReplicas=2**31 - 1)["spec"]["rayClusterConfig"]
    assert accelerators(config) == (16, 16)
