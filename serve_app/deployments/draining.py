"""Let a running application finish its requests before it is stopped."""

import time
from collections.abc import Callable
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

POLL_S = 0.5


def drain(application: str, limit_s: float, tell: Callable[[int], None]) -> int:
    """Make the application refuse new requests, and wait up to `limit_s` seconds for those in progress.

    Reports their number to `tell` whenever it changes, and returns how many are unfinished.
    """
    deadline = time.monotonic() + limit_s
    remaining = 0
    while (left_s := deadline - time.monotonic()) > 0:
        in_progress = _refuse(application, left_s)
        if in_progress and in_progress != remaining:
            tell(in_progress)
        if in_progress or remaining:
            # Also after the last request: its end is still on its way through Serve's proxy.
            time.sleep(POLL_S)
        if not in_progress:
            return 0
        remaining = in_progress
    return remaining


def _refuse(application: str, timeout_s: float) -> int:
    """Close the gate of every router, also of one that has just started, and return the requests in progress."""
    try:
        router: DeploymentHandle[Any] = serve.get_deployment_handle("Router", application)
        counts = router.broadcast("drain").results(timeout_s=timeout_s, return_exceptions=True)
    except (RayError, RayServeException, TimeoutError):
        return 0  # no router is left to finish anything
    return sum(count for count in counts if isinstance(count, int))
