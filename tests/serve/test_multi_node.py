"""Several raylets with logical GPUs on this machine: placement, autoscaling, and a node that dies."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import yaml

from loadtests.ports import free_port
from tests.patience import PATIENCE_S
from tests.serve.conftest import Served, until

pytestmark = [
    pytest.mark.serve,
    pytest.mark.slow,
    # Ray has announced other words for it; in 2.60 none of those has an effect yet.
    pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning"),
    # Ray's Cluster looks for free ports with sockets that it does not close.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

FAST = {"metrics_interval_s": 0.5, "look_back_period_s": 2, "upscale_delay_s": 0, "downscale_delay_s": 10}
"""Not what one would serve with: a test should not wait for minutes. But replicas must last until they are seen."""
MEMBER: dict[str, Any] = {
    "engine": "replay",
    "answers": [{"contains": "long", "text": "never", "first_token_s": 300}],
    "deployment": {
        # Which node has the ensemble's GPU is said by a resource of the cluster's own.
        "ray_actor_options": {"num_gpus": 0.5, "resources": {"ensemble": 0.01}},
        "graceful_shutdown_timeout_s": 1,
    },
}
CONFIG: dict[str, Any] = {
    "proxy_location": "HeadOnly",  # each node's would want the same port of this one machine
    "applications": [
        {
            "name": "cascade",
            "route_prefix": "/",
            "import_path": "serve_app.app:build_app",
            "autoscaling_policy": {"policy_function": "serve_app.deployments.autoscaling:deferral_policy"},
            "args": {
                "models": {
                    "first": {**MEMBER, "default": "one"},
                    "second": {**MEMBER, "default": "two"},
                    "target": {
                        "engine": "replay",
                        "default": "From the target.",
                        "deployment": {
                            "placement_group_bundles": [{"CPU": 0.1, "GPU": 1}, {"GPU": 1}],
                            "placement_group_strategy": "STRICT_SPREAD",
                        },
                    },
                    "elastic": {
                        "engine": "replay",
                        "default": "From the elastic target.",
                        "first_token_s": 2.0,
                        "deployment": {
                            "autoscaling_config": {"min_replicas": 0, "max_replicas": 3, "target_ongoing_requests": 1}
                            | FAST,
                            "graceful_shutdown_timeout_s": 1,
                        },
                    },
                },
                "cascades": {
                    "default": {
                        "tiers": [
                            {"models": ["first", "second"], "signal": "exact", "threshold": 1},
                            {"models": ["target"]},
                        ]
                    },
                    "growing": {
                        "tiers": [
                            {"models": ["first", "second"], "signal": "exact", "threshold": 1, "timeout_s": 300},
                            {"models": ["elastic"]},
                        ]
                    },
                },
                "router": {"unavailable_after_s": 1},
            },
        }
    ],
}


class Nodes:
    """A cluster, and where Serve's replicas are in it."""

    def __init__(self, cluster: Any, served: Served, node: Any) -> None:
        self.cluster = cluster
        self.served = served
        self.ensemble = node

    def where(self, deployment: str) -> list[str]:
        """Return the node of each running replica."""
        from ray.serve.context import _get_global_client

        details = _get_global_client().get_serve_details()["applications"]["cascade"]["deployments"][deployment]
        return [replica["node_id"] for replica in details["replicas"] if replica["state"] == "RUNNING"]

    async def replicas(self, deployment: str) -> int:
        return len(await asyncio.to_thread(self.where, deployment))


def stop(cluster: Any) -> None:
    """Stop the cluster and wait for its processes: Ray does not wait for all of them."""
    running = [
        info.process for node in cluster.list_all_nodes() for infos in node.all_processes.values() for info in infos
    ]
    cluster.shutdown()
    for process in running:
        process.wait(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Yield a head without GPU, one node for the ensemble and two for the target."""
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from serve_app.config.ray_rules import PROXY_SETTINGS
    from serve_app.config.serve_file import load
    from serve_app.deployments.local import cluster as local
    from serve_app.deployments.local.deploy import submit, wait_until_running

    path = tmp_path_factory.mktemp("nodes") / "config.yaml"
    path.write_text(yaml.safe_dump(CONFIG | {"http_options": {"host": "127.0.0.1", "port": free_port()}}))
    file = load(path)
    memory = {"object_store_memory": 80 * 1024 * 1024}
    patch = pytest.MonkeyPatch()
    for name, value in PROXY_SETTINGS.items():
        patch.setenv(name, value)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 8, "include_dashboard": False, **memory})
    try:
        ensemble = cluster.add_node(num_cpus=2, num_gpus=1, resources={"ensemble": 1}, **memory)
        for _ in range(2):
            cluster.add_node(num_cpus=1, num_gpus=1, **memory)
        gc.collect()  # so that the warning comes here, and not in another test
        ray.init(cluster.address, namespace="serve", log_to_driver=False, logging_level="ERROR")
        submit(path, local.Cluster(cluster.address, None, path.parent))
        wait_until_running(file, local.Cluster(cluster.address, None, path.parent), lambda _: None)
        yield Nodes(cluster, Served(path, file.url, cluster.address, None), ensemble)
    finally:
        serve.shutdown()
        ray.shutdown()
        stop(cluster)
        patch.undo()


@pytest.fixture
async def http(nodes: Nodes) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=nodes.served.url, timeout=PATIENCE_S, trust_env=False) as client:
        yield client


async def ask(http: httpx.AsyncClient, model: str, text: str = "?") -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    response = await http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_bundles_and_shared_gpus_land_where_they_should(nodes: Nodes) -> None:
    from ray.util import placement_group_table

    members = nodes.where("first") + nodes.where("second")
    assert members == [nodes.ensemble.node_id] * 2
    [group] = [group for group in placement_group_table().values() if group["state"] == "CREATED"]
    placed = set(group["bundles_to_node_id"].values())
    assert (group["strategy"], len(placed)) == ("STRICT_SPREAD", 2)
    assert nodes.ensemble.node_id not in placed
    assert nodes.where("target") == [group["bundles_to_node_id"][0]]


async def test_a_sleeping_target_wakes_grows_and_goes_back_to_sleep(nodes: Nodes, http: httpx.AsyncClient) -> None:
    assert await nodes.replicas("elastic") == 0
    answers = await asyncio.gather(*(ask(http, "growing") for _ in range(4)))
    assert {answer["cascade"]["answered_by"] for answer in answers} == {"elastic"}

    more = [asyncio.create_task(ask(http, "growing")) for _ in range(12)]
    await until(lambda: nodes.replicas("elastic"), 3)
    await asyncio.gather(*more)
    await until(lambda: nodes.replicas("elastic"), 0)


async def test_the_target_starts_while_the_requests_are_still_with_the_members(
    nodes: Nodes, http: httpx.AsyncClient
) -> None:
    """By what was deferred so far, and how long it took: plain autoscaling would see nothing to do."""
    await until(lambda: nodes.replicas("elastic"), 0)
    waiting = [asyncio.create_task(ask(http, "growing", "long")) for _ in range(30)]
    await until(lambda: nodes.replicas("elastic"), 3)
    assert await nodes.served.active("first", "second", "elastic") == [30, 30, 0]
    for task in waiting:
        task.cancel()
    await until(lambda: nodes.served.active("first", "second"), [0, 0])
    await until(lambda: nodes.replicas("elastic"), 0)


async def test_a_node_that_dies_is_survived(nodes: Nodes, http: httpx.AsyncClient) -> None:
    async def members_on(node: Any) -> bool:
        placements = await asyncio.to_thread(lambda: nodes.where("first") + nodes.where("second"))
        return placements == [node.node_id] * 2

    async def answered() -> str:
        record = (await ask(http, "default"))["cascade"]
        assert record["answered_by"] == "target"
        return str(record["reason"])

    assert await answered() == "disagreement"
    caught = asyncio.create_task(ask(http, "default", "long"))
    await until(lambda: nodes.served.active("first", "second"), [1, 1])
    await asyncio.to_thread(nodes.cluster.remove_node, nodes.ensemble)
    assert (await caught)["cascade"]["reason"] == "too_few_answers"

    await until(answered, "too_few_answers")
    spare = nodes.cluster.add_node(num_cpus=2, num_gpus=1, resources={"ensemble": 1})  # in the main thread only
    gc.collect()
    await until(lambda: members_on(spare), True)
    await until(answered, "disagreement")
