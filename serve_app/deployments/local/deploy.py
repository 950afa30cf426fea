"""A config file handed to Ray Serve, and the wait until all of it runs."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from ray.serve.schema import ApplicationStatusOverview

from serve_app.config.serve_file import ServeFile
from serve_app.deployments.local.cluster import Cluster
from serve_app.deployments.local.sentences import first_line, last_sentence
from serve_app.deployments.local.status import application_status, failure_of
from serve_app.errors import ServerError

POLL_S = 0.5
FAILED = ("DEPLOY_FAILED", "UNHEALTHY")


def as_served(path: Path, file: ServeFile, folder: Path) -> Path:
    """Return the config's path if it names its host; else that of a copy that names this machine.

    Without a host Ray Serve would listen on every interface. Relative paths need no change: replicas run in the folder
    in which Ray was started, that of this process, and a `working_dir` beside a relative path is refused.
    """
    values = file.raw()
    http = values.get("http_options") or {}
    if "host" in http:
        return path
    values["http_options"] = {"host": file.http_options.host} | http
    copy = folder / path.name
    copy.write_text(yaml.safe_dump(values), encoding="utf-8")
    return copy


def submit(path: Path, cluster: Cluster) -> None:
    """Hand the config file to `serve run`, as a user would without us."""
    command = [
        sys.executable,
        "-m",
        "ray.serve.scripts",
        "run",
        "--non-blocking",
        "--address",
        cluster.address,
        str(path),
    ]
    process = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if process.returncode:
        raise ServerError(f"`serve run {path}` failed: {last_sentence(process.stderr or process.stdout)}")


def wait_until_running(file: ServeFile, cluster: Cluster, tell: Callable[[str], None]) -> None:
    """Return when every deployment runs, and report to `tell` what is still starting.

    Raises `ServerError` if a deployment fails.
    """
    name = file.application.name
    while True:
        status = application_status(name)
        if status is not None and status.status in FAILED:
            raise ServerError(f"{failure_of(status)} Logs: {cluster.logs}.")
        if status is not None and status.status == "RUNNING":
            return
        tell(_waiting_for(status))
        time.sleep(POLL_S)


def _waiting_for(status: ApplicationStatusOverview | None) -> str:
    if status is None or not status.deployments:
        return "starting Ray Serve"
    waiting = {name: item for name, item in status.deployments.items() if item.status != "HEALTHY"}
    # The message of a deployment is useful only if it reports that no node has room for a replica.
    stuck = [item.message for item in waiting.values() if "scheduled" in item.message]
    return f"starting {', '.join(waiting) or 'the router'}" + (f" ({first_line(stuck[0])})" if stuck else "")
