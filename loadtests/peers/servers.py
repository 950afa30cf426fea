"""The servers under load, each a tree of processes of its own: the backend alone, ours before it, litellm before it."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil
import yaml

from loadtests.peers.environments import python_of
from loadtests.ports import free_port

KEY = f"sk-{secrets.token_hex(32)}"
"""Of this run: litellm refuses to start without a key, or with a simple one."""
START_S = 240


@dataclass(frozen=True)
class Server:
    """A running server: where it is asked, under which model's name, and its process."""

    url: str
    model: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """Return the CPU seconds of all its processes that are alive."""
        total = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total


@contextmanager
def backend() -> Iterator[Server]:
    """Run the replayed backend."""
    port = free_port()
    with _running([sys.executable, "-m", "loadtests.peers.backend", str(port)], {}) as process:
        yield _ready(f"http://127.0.0.1:{port}/v1", "replay", process)


@contextmanager
def ours(behind: Server, folder: Path) -> Iterator[dict[str, Server]]:
    """Run `cascade serve`: a single model before the backend, and a cascade of two members whose answers agree."""
    port = free_port()
    model = {"engine": "openai_api", "base_url": behind.url, "model": "replay", "api_key_env": "BENCH_KEY"}
    tiers = [{"models": ["direct", "second"], "signal": "exact", "threshold": 0.5}, {"models": ["target"]}]
    config = {
        "http_options": {"host": "127.0.0.1", "port": port},
        "logging_config": {"enable_access_log": False},
        "applications": [
            {
                "name": "cascade",
                "route_prefix": "/",
                "import_path": "serve_app.app:build_app",
                "args": {
                    "models": dict.fromkeys(("direct", "second", "target"), model),
                    "cascades": {"agreed": {"tiers": tiers}},
                },
            }
        ],
    }
    path = folder / "ours.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "serve_app.cli", "serve", str(path)]
    with _running(command, {"BENCH_KEY": KEY}) as process:
        direct = _ready(f"http://127.0.0.1:{port}/v1", "direct", process)
        yield {"ours, one model": direct, "ours, two members": Server(direct.url, "agreed", process)}


@contextmanager
def litellm(behind: Server, folder: Path) -> Iterator[dict[str, Server]]:
    """Run litellm's proxy with one worker, as it is by default. Raises UnavailableError if it cannot be installed."""
    python, port = python_of("litellm"), free_port()
    params = {"model": "openai/replay", "api_base": behind.url, "api_key": KEY}
    path = folder / "litellm.yaml"
    path.write_text(yaml.safe_dump({"model_list": [{"model_name": "direct", "litellm_params": params}]}))
    command = [str(python.parent / "litellm"), "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
    }
    with _running(command, environment) as process:
        yield {"litellm proxy": _ready(f"http://127.0.0.1:{port}/v1", "direct", process)}


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[psutil.Process]:
    log = subprocess.DEVNULL
    started = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True)
    process = psutil.Process(started.pid)
    try:
        yield process
    finally:
        children = process.children(recursive=True) if process.is_running() else []
        started.terminate()
        try:
            started.wait(60)
        except subprocess.TimeoutExpired:
            started.kill()
        for child in psutil.wait_procs(children, timeout=10)[1]:
            child.kill()


def _ready(url: str, model: str, process: psutil.Process) -> Server:
    """Return the server once it answers a request."""
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello?"}}]}}'.encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    ends = time.monotonic() + START_S
    while time.monotonic() < ends:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError(f"The server at {url} ended before it answered; run its command to see why.")
        try:
            with urlopen(Request(f"{url}/chat/completions", body, headers), timeout=10):
                return Server(url, model, process)
        except (URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError(f"The server at {url} did not answer within {START_S} s.")
