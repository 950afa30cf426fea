"""`cascade serve`: the server on this machine, until Ctrl-C; requests in progress are finished first."""

import json
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.arguments import ConfigOrQuickstart
from serve_app.cli.errors_and_exit import report_errors
from serve_app.cli.server.pull import fetch_models, warn_of_unpinned
from serve_app.common.client_key import VARIABLE
from serve_app.errors import ConfigError, counted

if TYPE_CHECKING:
    from rich.status import Status

    from serve_app.config.serve_file import ServeFile
    from serve_app.deployments.local.cluster import Cluster


DrainSeconds = Annotated[
    float, typer.Option(min=0, help="Seconds that requests in progress get to finish after Ctrl-C or SIGTERM.")
]


@report_errors
def serve(config: ConfigOrQuickstart = None, drain_s: DrainSeconds = 60) -> None:
    """Start the server on this machine and keep it up until Ctrl-C."""
    from rich.console import Console

    from serve_app.config.key_file import read_keys
    from serve_app.config.ray_rules import load
    from serve_app.config.serve_file import SHIPPED

    _prepare_ray()
    path = config or SHIPPED["quickstart"]
    file = load(path)
    if problem := file.lets_everybody_in:
        raise ConfigError(f"{path}: {problem}")
    if (keys_file := file.application.args.router.access.keys_file) is not None:
        read_keys(keys_file)
    if config is None:
        typer.echo("Serving the quickstart. To serve your own config: cascade config > my.yaml, cascade serve my.yaml.")
    warn_of_unpinned(file.application.args)
    fetch_models(file.application.args)
    # Ray takes seconds to import, so only now.
    from serve_app.deployments.local.checks import check_environments, check_port, check_resources
    from serve_app.deployments.local.cluster import local_cluster
    from serve_app.deployments.local.deploy import as_served, submit, wait_until_running
    from serve_app.deployments.local.warm_up import warm_up

    os.environ.pop("RAY_ENABLE_AUTO_CONNECT")  # Ray has read it; it is not meant for the processes that it starts
    check_port(file)
    check_environments(file)
    ready = False
    directory = TemporaryDirectory()
    with directory as folder, Console(highlight=False).status("starting Ray") as status:
        try:
            with local_cluster() as cluster:
                _stop_by_signal()
                try:
                    check_resources(file)
                    status.update("starting Ray Serve")
                    submit(as_served(path, file, Path(folder)), cluster)
                    wait_until_running(file, cluster, status.update)
                    status.update("warming up")
                    warm_up(file)
                    status.stop()
                    ready = True
                    typer.echo(_greeting(file, cluster))
                    _watch(file)
                    _drain(file.application.name, drain_s, status)
                finally:
                    # Serve's handles have threads that outlive Ray; asyncio would print that they find it gone.
                    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
                    status.update("stopping")
                    status.start()
        except KeyboardInterrupt:
            if not ready:
                raise
            # The second Ctrl-C stops a server at once, and is not a failure. Threads of Serve's handles are still
            # alive, and would complain that Ray is gone.
            status.stop()
            directory.cleanup()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def _watch(file: "ServeFile") -> None:
    """Report what is not running, until Ctrl-C: the usual way to stop a server."""
    from serve_app.deployments.local.watch import watch

    with suppress(KeyboardInterrupt):
        watch(file, typer.echo)


def _drain(application: str, drain_s: float, status: "Status") -> None:
    """Let the requests in progress finish, and report how many there are.

    Raises KeyboardInterrupt if another signal comes meanwhile.
    """
    from serve_app.deployments.local.draining import drain

    def tell(count: int) -> None:
        if not reported:
            typer.echo(
                f"Waiting up to {drain_s:g} s for {counted(count, 'request')} in progress. Ctrl-C stops at once."
            )
            status.start()
        reported.append(count)
        status.update(f"waiting for {counted(count, 'request')}")

    reported: list[int] = []
    interrupted = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    unfinished = drain(application, drain_s, tell, interrupted)
    _stop_by_signal()
    if interrupted.is_set():
        raise KeyboardInterrupt
    if unfinished:
        typer.echo(f"Cut off {counted(unfinished, 'request')} after {drain_s:g} s.")


def _stop_by_signal() -> None:
    """Make SIGTERM act as Ctrl-C, also if a shell started us with them ignored or Ray has set handlers of its own."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _prepare_ray() -> None:
    """Set Ray's environment variables, which it reads when it is imported."""
    # Ray's ports listen on every interface; a token guards them. Set here, it is on without a warning.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
    # Behind HAProxy: its default of 30 s would hold Ctrl-C up, after our own drain.
    os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "1")
    os.environ.pop("RAY_ADDRESS", None)  # always a cluster of our own
    # A thread of a handle that outlives Ray would start another cluster.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"


def _greeting(file: "ServeFile", cluster: "Cluster") -> str:
    url, cascades = file.url, list(file.application.args.cascades)
    body = {"model": cascades[0], "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    places = [f"Ready at {url}/v1", f"API docs: {url}/docs"]
    if file.application.args.router.page is not False:
        places.insert(1, f"Page: {url}/")
    if cluster.dashboard_url:
        places.append(f"Ray dashboard: {cluster.dashboard_url}")
    places.append(f"Logs: {cluster.logs / 'serve'}")
    access = file.application.args.router.access
    key = ""
    if file.is_open:
        may = "any client that can reach this machine may use it" if access.open else "any client with a key may use it"
        places.append(f"It listens on {file.http_options.host}: {may}.")
    if access.keys_file is not None:
        key = f' -H "Authorization: Bearer ${VARIABLE}"'
    return "\n".join(places) + (
        f"\n\n  curl {url}/v1/chat/completions -H 'Content-Type: application/json'{key} \\\n"
        f"    -d '{json.dumps(body)}'\n"
        f'  {sys.argv[0]} ask --url {url} --model {cascades[0]} "What is the capital of France?"\n\nCtrl-C stops it.'
    )
