"""What keys use up, counted by all routers together through their `StateStore`; no request waits for it."""

import asyncio
import logging
from typing import Any
from uuid import uuid4

from ray.serve.handle import DeploymentHandle

from serve_app.config import AppConfig
from serve_app.deployments.remembering.shared import StateHandle, background_handle
from serve_app.deployments.remembering.window_counts import News, WindowCounts
from serve_app.errors import StateError

logger = logging.getLogger("ray.serve")

EXCHANGE_S = 0.1
"""Pause between two exchanges of a router that is asked all the time; limits are exact to about twice as long."""


class SharedCounts:
    """Counts in this process at once, and exchanges sums with the store in the background while requests come.

    So others' counts are known a little later: once a limit is reached, each router admits at most the requests of two
    more exchanges. While the store is away, each router has its own counts and the last ones that it received.
    """

    def __init__(self, state: StateHandle) -> None:
        self._state = state
        self._router = uuid4().hex
        self._counts = WindowCounts()
        self._sent_version = 0
        self._store, self._store_version = "", 0
        self._requested = False
        self._exchanging: asyncio.Task[None] | None = None

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, and return what all have counted, as far as this router knows."""
        self._counts.add(key, expiry, self._router, amount)
        return await self.get(key)

    async def get(self, key: str) -> int:
        """Return what all have counted, as far as this router knows."""
        self._requested = True
        if self._exchanging is None or self._exchanging.done():
            self._exchanging = asyncio.create_task(self._exchange_while_requested())
            self._exchanging.add_done_callback(_log_error)
        return self._counts.total(key)

    async def _exchange_while_requested(self) -> None:
        while self._requested:
            self._requested = False
            await self._exchange()
            await asyncio.sleep(EXCHANGE_S)

    async def _exchange(self) -> None:
        counts = self._counts
        version, changed = counts.version, counts.changed_since(self._sent_version)
        try:
            news: News = await self._state.call("exchange_counts", changed, self._store, self._store_version)
        except StateError:
            self._requested = True  # all of it is sent the next time, also without another request until then
            return
        self._sent_version = version
        if self._store and news.store != self._store:  # it has begun anew: send it what others have counted, too
            self._sent_version, self._requested = 0, True
        self._store, self._store_version = news.store, news.version
        counts.merge(news.windows)


def _log_error(task: asyncio.Task[None]) -> None:
    """Log the error that ended the exchange, which the next request begins anew."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("The counts of API keys are not exchanged: %r", error)


def shared_counts(config: AppConfig, store: DeploymentHandle[Any] | None) -> SharedCounts | None:
    """Return where several routers count what keys use up, or None if one counts alone or a Redis does."""
    access = config.router.access
    if store is None or access.keys_file is None or access.limits_url is not None:
        return None
    return SharedCounts(background_handle(config, store))
