"""Several raylets on this machine with the real application over them, and what can be taken from it."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psutil
import ray
import yaml
from ray import serve
from ray._private.ray_constants import PROCESS_TYPE_GCS_SERVER
from ray.cluster_utils import Cluster
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus

from loadtests.chaos.backend import SAME
from loadtests.chaos.load import SERVE_LIMIT_S
from loadtests.ports import free_port
from serve_app.config.ray_rules import PROXY_SETTINGS
from serve_app.config.serve_file import load
from serve_app.deployments.local import cluster as local
from serve_app.deployments.local.deploy import submit, wait_until_running

MODELS = ("first", "second", "target")
WORKERS = 2
DISK_MB = 300
"""Of the small disk that Ray's session is on, if one can be mounted: its logs, and nothing that the models need."""
WORKER_PORT = "RAY_SERVE_WORKER_PROXY_HTTP_PORT"
"""Of the proxies of the nodes that are added from now on: on one machine each needs a port of its own."""
OBJECTS = 80 * 1024 * 1024
SETTLED_S = 10.0
CONTROLLER, PROXY = "SERVE_CONTROLLER_ACTOR", "SERVE_PROXY_ACTOR"
MEMBER = "#first#"
UNREACHABLE = (TimeoutError, RayError, RayServeException)
"""What Ray and Serve raise if the cluster does not answer."""


def config(backend_port: int, records: Path, port: int, routers: int) -> dict[str, Any]:
    """Return the application: a replayed member, and one and a target behind the endpoint that breaks."""
    share = {"ray_actor_options": {"num_cpus": 0.5}, "graceful_shutdown_timeout_s": 2}
    endpoint = {"engine": "openai_api", "base_url": f"http://127.0.0.1:{backend_port}/v1", "keyless": True}
    endpoint |= {"max_concurrency": 16, "max_retries": 0, "deployment": share}
    models = {
        "first": {"engine": "replay", "records": str(records), "default": SAME, "slots": 16, "first_token_s": 0.1}
        | {"deployment": share},
        "second": endpoint | {"model": "second"},
        "target": endpoint | {"model": "target"},
    }
    tiers = [
        {"models": ["first", "second"], "signal": "rougeL", "threshold": 0.8, "timeout_s": 3},
        {"models": ["target"], "timeout_s": 5},
    ]
    args = {
        "models": models,
        "cascades": {"default": {"tiers": tiers}},
        "scorer": {"inline_characters": 0, "timeout_s": 2, "deployment": share},
        "router": {"log_decisions": True, "unavailable_after_s": 3, "deployment": share | {"num_replicas": routers}},
    }
    application = {"name": "cascade", "route_prefix": "/", "import_path": "serve_app.app:build_app", "args": args}
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "127.0.0.1", "port": port, "request_timeout_s": SERVE_LIMIT_S},
        "logging_config": {"encoding": "JSON", "enable_access_log": False},
        "applications": [application],
    }


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small disk at a folder for the body, and give whether that was possible: it needs root."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


class Raylets:
    """A head and workers, each with a proxy. Only the main thread may add nodes."""

    def __init__(self, folder: Path, session: Path, backend_port: int, routers: int) -> None:
        self.session = session
        self.records = folder / "records.jsonl"
        self.records.write_text(json.dumps({"prompt": "?", "text": SAME}) + "\n")
        self.ports: dict[Any, int] = {}
        self._folder = folder
        self._head_port = free_port()
        self._values = config(backend_port, self.records, self._head_port, routers)
        self._cluster = Cluster()

    def start(self) -> None:
        """Start the nodes and the application, and return when every node has a proxy."""
        os.environ |= PROXY_SETTINGS
        arguments = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": OBJECTS}
        self._cluster.add_node(**arguments, temp_dir=str(self.session))
        for _ in range(WORKERS):
            self.add_node()
        ray.init(self._cluster.address, namespace="serve", log_to_driver=False, logging_level="ERROR")
        self.deploy(self._values)
        wait_until_running(load(self._path), self._local, lambda _: None)
        self._wait_for_proxies()

    @property
    def _path(self) -> Path:
        return self._folder / "config.yaml"

    @property
    def _local(self) -> local.Cluster:
        return local.Cluster(self._cluster.address, None, self.logs)

    @property
    def logs(self) -> Path:
        """Return where Serve's logs of all nodes are."""
        return self.session / "session_latest" / "logs" / "serve"

    def urls(self) -> list[str]:
        """Return where the proxies of the nodes that are there listen."""
        return [f"http://127.0.0.1:{port}" for port in (self._head_port, *list(self.ports.values()))]

    def deploy(self, values: dict[str, Any]) -> None:
        """Hand a config to Serve, as a user would."""
        self._path.write_text(yaml.safe_dump(values))
        submit(self._path, self._local)

    def change_threshold(self, threshold: float) -> None:
        """Deploy another threshold, which restarts nothing."""
        settings = {"thresholds": {"default": [threshold]}}
        application = self._values["applications"][0] | {"deployments": [{"name": "Router", "user_config": settings}]}
        self.deploy(self._values | {"applications": [application]})

    def add_node(self) -> None:
        """Add a worker with a proxy at a port of its own."""
        port = free_port()
        os.environ[WORKER_PORT] = str(port)
        node = self._cluster.add_node(num_cpus=2, object_store_memory=OBJECTS)
        self.ports[node] = port

    def lose_node(self, chance: Random) -> str:
        """Kill a worker's raylet, and with it all that runs there."""
        node = chance.choice(list(self.ports))
        del self.ports[node]
        self._cluster.remove_node(node, allow_graceful=False)
        return str(node.node_id)[:8]

    def kill_head(self) -> str:
        """Kill the process in which the cluster's state is (GCS); the head's raylet and all replicas live on."""
        process = self._cluster.head_node.all_processes[PROCESS_TYPE_GCS_SERVER][0].process
        self._cluster.head_node.kill_gcs_server()
        return f"process {process.pid}"

    def start_head(self) -> None:
        """Start it again, at the same port."""
        self._cluster.head_node.start_gcs_server()

    def actors(self, part: str) -> list[str]:
        """Return the names of Serve's actors with this part in their names."""
        return [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True) if part in actor["name"]]

    def kill(self, part: str, chance: Random) -> str:
        """Kill an actor whose name has this part: a replica, a proxy or the controller."""
        names = self.actors(part)
        if not names:
            return "none there"
        name = chance.choice(sorted(names))
        with suppress(ValueError):  # gone already
            ray.kill(ray.get_actor(name, namespace="serve"), no_restart=name != CONTROLLER)
        return name

    def heals(self, within_s: float) -> bool:
        """Kill a member, and return whether Serve has started another one in time and calls everything well."""
        deadline = time.monotonic() + within_s
        with suppress(*UNREACHABLE):
            killed = self.kill(MEMBER, Random())
            while time.monotonic() < deadline:
                time.sleep(1)
                application = serve.status().applications.get("cascade")
                running = application is not None and application.status == ApplicationStatus.RUNNING
                if running and set(self.actors(MEMBER)) - {killed}:
                    return True
        return False

    def active(self) -> dict[str, int]:
        """Return how many requests hold a slot of each model, by the engines' own counters."""
        handles = {name: serve.get_deployment_handle(name, "cascade") for name in MODELS}
        return {name: handle.counters.remote().result(timeout_s=30).active for name, handle in handles.items()}

    def _wait_for_proxies(self) -> None:
        """Wait until all proxies have answered for SETTLED_S in a row: Serve restarts some at first if CPU is short."""
        deadline, bad = time.monotonic() + 120, time.monotonic()
        while time.monotonic() - bad < SETTLED_S and time.monotonic() < deadline:
            time.sleep(0.5)
            if len(self.actors(PROXY)) < 1 + WORKERS or not all(map(_answers, self.urls())):
                bad = time.monotonic()

    def close(self) -> None:
        """Stop everything, and wait for the processes."""
        processes = psutil.Process().children(recursive=True)
        with suppress(Exception):  # whatever a fault has left behind, the processes end
            serve.shutdown()
        ray.shutdown()
        self._cluster.shutdown()
        _, alive = psutil.wait_procs(processes, timeout=20)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _answers(url: str) -> bool:
    """Return whether a proxy answers."""
    try:
        return httpx.get(f"{url}/-/healthz", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False
