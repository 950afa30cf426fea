"""Let a running application finish its requests before it is stopped."""

import time
from collections.abc import Callable
from threading import Event
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

POLL_S = 0.5
ANSWER_S = 5.0
"""A router whose slots are all taken answers once one is free; meanwhile it has requests in progress."""


def drain(application: str, limit_s: float, tell: Callable[[int], None], interrupted: Event) -> int:
    """Make the application refuse new requests, and wait up to `limit_s` seconds for those in progress.

    Reports their number to `tell` whenever it changes, and returns how many are unfinished. Setting `interrupted` ends
    the wait; an exception in the middle of a call of Ray would leave a thread behind that the exit waits for.
    """
    deadline = time.monotonic() + limit_s
    remaining = 0
    while (left_s := deadline - time.monotonic()) > 0 and not interrupted.is_set():
        in_progress = _refuse(application, min(left_s, ANSWER_S), remaining)
        if in_progress and in_progress != remaining:
            tell(in_progress)
        if in_progress or remaining:
            # Also after the last request: its end is still on its way through Serve's proxy.
            interrupted.wait(POLL_S)
        if not in_progress:
            return 0
        remaining = in_progress
    return remaining


def _refuse(application: str, timeout_s: float, remaining: int) -> int:
    """Close the gate of every router, also of one that has just started, and return the requests in progress.

    If no answer comes in time, there are at least as many as before, or one.
    """
    try:
        router: DeploymentHandle[Any] = serve.get_deployment_handle("Router", application)
        counts = router.broadcast("drain").results(timeout_s=timeout_s, return_exceptions=True)
    except TimeoutError:
        return max(remaining, 1)
    except (RayError, RayServeException):
        return 0  # no router is left to finish anything
    return sum(count for count in counts if isinstance(count, int))
