"""A Ray cluster on this machine, started and stopped as one thing."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray import serve
from ray._private.worker import RayContext
from ray.exceptions import RayError

from serve_app.config.ray_rules import PROXY_SETTINGS
from serve_app.deployments.local.sentences import first_line
from serve_app.errors import ServerError

OBJECT_STORE_BYTES = 200 * 1024 * 1024
"""Only short texts pass through; Ray would take 30% of the memory, which the models need."""


@dataclass(frozen=True)
class Cluster:
    """A running local cluster."""

    address: str
    dashboard_url: str | None
    logs: Path


@contextmanager
def local_cluster(environment: Mapping[str, str] = PROXY_SETTINGS) -> Iterator[Cluster]:
    """Run Ray on this machine, and stop it afterwards. A cluster that already runs is not touched.

    `environment` has variables for Ray's processes, of which those that are set already win. After Ctrl-C the cluster
    is stopped without Serve's own shutdown, which gives the requests in progress 20 s.
    """
    at_once = False
    added = {name: value for name, value in environment.items() if name not in os.environ}
    os.environ |= added  # Ray's processes inherit them
    # It logs at INFO that there was nothing to stop, and warns of a router that is slow to report its load.
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
        raise ServerError(f"Ray could not be started on this machine: {first_line(str(error))}") from error
    finally:
        for name in added:
            del os.environ[name]
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
