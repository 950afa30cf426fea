"""Which deployments have lost their replicas, so that no request waits for one that will not come back soon."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from serve_app.errors import CascadeError

logger = logging.getLogger("ray.serve")

POLL_S = 2.0
"""Seconds between two reads of Serve's status, and that a deployment may be silent before the first read.

A read costs a router tens of milliseconds of CPU, and the controller more, so there is none while answers arrive and
nothing is down.
"""
UNREADABLE = (RayServeException, RayError, TimeoutError, KeyError)
"""Raised by `look_up` while the controller is away, or lists no deployments: see there."""
FAILING = ("UNHEALTHY", "DEPLOY_FAILED")
"""Neither UPDATING nor UPSCALING, whose first replica is starting, nor HEALTHY, which may have scaled to zero."""


class GoneError(CascadeError):
    """A deployment has had no running replica for longer than a request should wait."""


@dataclass(frozen=True)
class Health:
    """One deployment in Serve's status."""

    running: int
    status: str

    @property
    def down(self) -> bool:
        """Return whether it has no replica although it should: the last one died or could not be started."""
        return self.running == 0 and self.status in FAILING


def look_up(application: str) -> dict[str, Health]:
    """Return Serve's status of an application's deployments, by name. Blocks: it is a call to the controller.

    Raises KeyError if Serve lists none: while it builds a changed application, and after a refused one, until the next
    deploy. The replicas that ran before answer all the while.
    """
    deployments = serve.status().applications[application].deployments
    if not deployments:
        raise KeyError(f"Serve lists no deployments of {application!r}.")
    return {
        name: Health(
            sum(count for state, count in deployment.replica_states.items() if state == "RUNNING"), deployment.status
        )
        for name, deployment in deployments.items()
    }


class Liveness:
    """Cancels requests that wait on a deployment that has had no running replica for `after_s` seconds.

    `look` reads Serve's status and may block. It is called every `poll_s` seconds in a thread, while a request waits
    for a deployment that has not answered for as long: one that answers is not down.
    """

    def __init__(self, look: Callable[[], Mapping[str, Health]], after_s: float, poll_s: float = POLL_S) -> None:
        self._look = look
        self._after_s = after_s
        self._poll_s = poll_s
        self._waiting: dict[str, set[asyncio.Timeout]] = defaultdict(set)
        self._silent_since: dict[str, float] = {}
        self._down_since: dict[str, float] = {}
        self._watch: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def required(self, name: str) -> AsyncIterator[None]:
        """Run a body that needs an answer from a deployment; it is cancelled, with `GoneError`, once that is gone."""
        if self._gone(name):
            raise self._error(name)
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_on())
        try:
            async with asyncio.timeout(None) as clock:
                if not self._waiting[name]:
                    self._silent_since[name] = monotonic()
                self._waiting[name].add(clock)
                try:
                    yield
                    self._silent_since[name] = monotonic()
                finally:
                    self._waiting[name].discard(clock)
        except TimeoutError:
            if not clock.expired():  # raised by the body itself
                raise
            raise self._error(name) from None

    def _error(self, name: str) -> GoneError:
        return GoneError(f"{name!r} has had no running replica for more than {self._after_s:g} s.")

    def _gone(self, name: str) -> bool:
        since = self._down_since.get(name)
        return since is not None and monotonic() - since >= self._after_s

    async def _watch_on(self) -> None:
        """Read the status while a request waits, or while a deployment is down and may come back."""
        try:
            while any(self._waiting.values()) or self._down_since:
                await asyncio.sleep(self._poll_s)
                if self._down_since or self._silence():
                    await self._refresh()
        finally:
            self._watch = None

    def _silence(self) -> bool:
        """Return whether a request waits for a deployment that has not answered for `poll_s` seconds."""
        heard_since = monotonic() - self._poll_s
        return any(clocks and self._silent_since[name] <= heard_since for name, clocks in self._waiting.items())

    async def _refresh(self) -> None:
        try:
            health = await asyncio.to_thread(self._look)
        except UNREADABLE as error:
            logger.warning("Serve's status could not be read, so it is taken as unchanged: %r", error)
            return
        down = [name for name, deployment in health.items() if deployment.down]
        self._down_since = {name: self._down_since.get(name, monotonic()) for name in down}
        for name in filter(self._gone, down):
            for clock in self._waiting.pop(name, ()):  # each is cancelled once
                clock.reschedule(asyncio.get_running_loop().time())
