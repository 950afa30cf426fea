"""A Ray cluster on this machine with one application on it: started, watched, warmed up and stopped as one thing."""

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import ray
import yaml
from ray import serve
from ray._private.worker import RayContext
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatusOverview

from serve_app.config import VllmModel
from serve_app.config.serve_file import ServeFile
from serve_app.core.client_key import key_headers
from serve_app.deployments.shortage import shortage
from serve_app.engines.vllm.engine import check_installed
from serve_app.errors import ServerError
from serve_app.planning.plan import plan_of

OBJECT_STORE_BYTES = 200 * 1024 * 1024
"""Only short texts pass through; Ray would take 30% of the memory, which the models need."""
POLL_S = 0.5
WATCH_S = 5.0
FAILED = ("DEPLOY_FAILED", "UNHEALTHY")
ENVIRONMENT_HAS = ("serve_app", "ray", "bleurt_pytorch")


@dataclass(frozen=True)
class Cluster:
    """A running local cluster."""

    address: str
    dashboard_url: str | None
    logs: Path


@contextmanager
def local_cluster() -> Iterator[Cluster]:
    """Run Ray on this machine, and stop it afterwards. A cluster that already runs is left alone.

    After Ctrl-C it is stopped without Serve's own shutdown, which gives the requests in progress 20 s.
    """
    at_once = False
    # It says in INFO that there was nothing to stop, and warns of a router that is slow to say how busy it is.
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        # Replicas write to log files; what they print is for those, not for the user's terminal.
        context = ray.init(
            address="local",
            namespace="serve",
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
        )
        assert isinstance(context, RayContext)
    except (RuntimeError, ValueError, OSError, RayError) as error:
        ray.shutdown()
        raise ServerError(f"Ray could not be started on this machine: {_first_line(str(error))}") from error
    try:
        url = f"http://{context.dashboard_url}" if context.dashboard_url else None
        info = context.address_info
        yield Cluster(str(info["gcs_address"]), url, Path(str(info["session_dir"])) / "logs")
    except KeyboardInterrupt:
        at_once = True
        raise
    finally:
        try:
            if not at_once:
                serve.shutdown()
        finally:
            ray.shutdown()


def check_port(file: ServeFile) -> None:
    """Raise `ServerError` if the port is taken: Serve would report it only in a log file."""
    host, port = file.http_options.host, file.http_options.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServerError(
                f"Port {port} on {host} cannot be used ({error.strerror}): stop what listens there, "
                "or change http_options.port in the config."
            ) from None


def check_environments(file: ServeFile) -> None:
    """Raise an error if a signal's environment cannot be used, or if vLLM is needed and not installed.

    Without this check Ray would try to start the replica indefinitely.
    """
    if any(isinstance(model, VllmModel) for model in file.application.args.models.values()):
        check_installed()
    look = f"import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, {ENVIRONMENT_HAS!r})))"
    for name, signal in file.application.args.isolated().items():
        if signal.environment is None:
            continue
        try:
            process = subprocess.run([signal.environment, "-c", look], capture_output=True, check=False)
        except OSError as error:
            problem = f"cannot be run ({error.strerror})"
        else:
            problem = f"lacks one of {', '.join(ENVIRONMENT_HAS)}" if process.returncode else ""
        if problem:
            raise ServerError(
                f"The environment of the signal {name!r}, {signal.environment!r}, {problem}; `make bleurt-env` makes "
                "one, .venv-bleurt/bin/python."
            )


def check_room(file: ServeFile) -> None:
    """Raise `ServerError`, with the sums, if the config needs more than this machine has: Serve would wait forever."""
    if missing := shortage(plan_of(file)):
        raise ServerError(f"This machine cannot run the config: {missing}.")


def whole(path: Path, file: ServeFile, folder: Path) -> Path:
    """Return the config's path if it names its host and has no relative path, else that of a copy in `folder`.

    Without a host Ray Serve would listen on every interface, and its workers may run in another folder.
    """
    values = file.raw()
    http, keys_file = values.get("http_options") or {}, file.application.args.router.access.keys_file
    if "host" in http and (keys_file is None or keys_file.is_absolute()):
        return path
    values["http_options"] = {"host": file.http_options.host} | http
    if keys_file is not None:
        values["applications"][0]["args"]["router"]["access"]["keys_file"] = str(keys_file.absolute())
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
        raise ServerError(f"`serve run {path}` failed: {_last_sentence(process.stderr or process.stdout)}")


def wait_until_running(file: ServeFile, cluster: Cluster, tell: Callable[[str], None]) -> None:
    """Return when every deployment runs, and report to `tell` what is being waited for.

    Raises `ServerError` if a deployment fails.
    """
    name = file.application.name
    while True:
        status = application_status(name)
        if status is not None and status.status in FAILED:
            raise ServerError(f"{_why(status)} Logs: {cluster.logs}.")
        if status is not None and status.status == "RUNNING":
            return
        tell(_waiting_for(status))
        time.sleep(POLL_S)


def application_status(name: str) -> ApplicationStatusOverview | None:
    """Return Serve's status of the application, or None if it does not exist yet."""
    try:
        return serve.status().applications.get(name)
    except (RayServeException, RayError):
        return None


def _waiting_for(status: ApplicationStatusOverview | None) -> str:
    if status is None or not status.deployments:
        return "starting Ray Serve"
    waiting = {name: item for name, item in status.deployments.items() if item.status != "HEALTHY"}
    # The message of a deployment is of use only if it says that no node has room for a replica.
    stuck = [item.message for item in waiting.values() if "scheduled" in item.message]
    return f"starting {', '.join(waiting) or 'the router'}" + (f" ({_first_line(stuck[0])})" if stuck else "")


def _why(status: ApplicationStatusOverview) -> str:
    for name, item in status.deployments.items():
        if item.status not in ("HEALTHY", "UPDATING") and item.message:
            return f"The deployment {name!r} failed: {_last_sentence(item.message)}"
    return f"The application failed: {_last_sentence(status.message)}"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0]


def _last_sentence(text: str) -> str:
    """Return the exception's own message from the end of a traceback."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    named = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    last = (named or lines or ["no reason was given"])[-1]
    kind, _, message = last.partition(": ")
    return (message if message and kind.endswith(("Error", "Exception")) else last).rstrip(".") + "."


def warm_up(file: ServeFile) -> None:
    """Send one short request to each cascade, so that the first user does not wait for what is loaded lazily.

    If the server has API keys and the environment has none of them, it is not done.
    """
    # This machine is not behind its own proxy.
    with httpx.Client(base_url=file.url, timeout=300, trust_env=False, headers=key_headers()) as client:
        for cascade in file.application.args.cascades:
            body = {
                "model": cascade,
                "max_tokens": 1,
                "messages": [{"role": "user", "content": "Hello"}],
                "cascade": {"force": "defer"} if len(file.application.args.cascades[cascade].tiers) > 1 else {},
            }
            try:
                response = client.post("/v1/chat/completions", json=body)
            except httpx.HTTPError as error:
                raise ServerError(f"The server runs, but cannot be reached at {file.url}: {error}.") from None
            if response.status_code >= 500:
                raise ServerError(f"The cascade {cascade!r} does not answer: {response.json()['error']['message']}")


def watch(file: ServeFile, tell: Callable[[str], None]) -> None:
    """Report to `tell`, until interrupted, when a deploy fails or replicas are lost, and when all is well again.

    A deployment in progress is not reported: a change of thresholds is no fault.
    """
    reported = ""
    while True:
        time.sleep(WATCH_S)
        problem = _problem(application_status(file.application.name))
        if problem != reported:
            tell(problem or "Everything runs again.")
        reported = problem


def _problem(status: ApplicationStatusOverview | None) -> str:
    if status is None:
        return "Not running: Ray Serve. Ray Serve restarts it."
    if status.status == "DEPLOY_FAILED":
        # Serve lists no deployments of an application that it could not build, and replaces none.
        return f"A deploy failed. {_why(status)}" + ("" if status.deployments else " What ran before still answers.")
    missing = ", ".join(name for name, item in status.deployments.items() if item.status == "UNHEALTHY")
    return f"Not running: {missing}. Ray Serve restarts it." if missing else ""
