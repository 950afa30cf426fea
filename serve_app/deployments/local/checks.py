"""Checks of a config before it is deployed here: Ray Serve would wait indefinitely, or report only in a log."""

import socket
import subprocess

from serve_app.config import VllmModel
from serve_app.config.serve_file import ServeFile
from serve_app.deployments.local.shortage import shortage
from serve_app.engines.vllm.engine import check_installed
from serve_app.errors import ServerError
from serve_app.planning.plan import plan_of

ENVIRONMENT_HAS = ("serve_app", "ray", "bleurt_pytorch")


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


def check_resources(file: ServeFile) -> None:
    """Raise `ServerError`, with the sums, if the config needs more than this machine has."""
    if missing := shortage(plan_of(file)):
        raise ServerError(f"This machine cannot run the config: {missing}.")
