"""The figures of all routers, exchanged through their `StateStore` in the background, only while a client watches."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from ray.serve.handle import DeploymentHandle

from serve_app.config import AppConfig
from serve_app.deployments.remembering.shared import StateHandle, background_handle
from serve_app.deployments.showing.board import GONE_S, FiguresNews
from serve_app.deployments.showing.figures import Figures
from serve_app.deployments.showing.live import Live
from serve_app.errors import StateError

logger = logging.getLogger("ray.serve")

WATCHED_PERIOD_S = 1.0
UNWATCHED_PERIOD_S = 3.0
"""Pause after which a router asks whether a client watches another one, by a call without figures."""


class FiguresExchange:
    """Publishes a router's figures while a client watches any router, and receives those of the others.

    `clock` gives seconds that never go back.
    """

    def __init__(self, state: StateHandle, live: Live, clock: Callable[[], float] = monotonic) -> None:
        self._state = state
        self._live = live
        self._clock = clock
        self._others: list[Figures] = []
        self._viewed_at = self._begun_at = self._received_at = -GONE_S
        self._watched_elsewhere = False
        self._hurry = asyncio.Event()
        self._exchanging: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Exchange from now on, if it does not yet or any more."""
        if self._exchanging is None or self._exchanging.done():
            self._exchanging = asyncio.create_task(self._exchange_on())
            self._exchanging.add_done_callback(_log_error)

    def others(self) -> list[Figures] | None:
        """Return the figures that the others published last, for a client that watches here; None if they are away."""
        now = self._clock()
        if not self._watched_here:
            self._begun_at = now
            self._hurry.set()
        self._viewed_at = now
        self.begin()
        if now - self._received_at < GONE_S:
            return self._others
        return [] if now - self._begun_at < GONE_S else None

    @property
    def _watched_here(self) -> bool:
        return self._clock() - self._viewed_at < GONE_S

    async def _exchange_on(self) -> None:
        while True:
            self._hurry.clear()
            with suppress(StateError):  # a view says that nothing is received
                await self._exchange()
            watched = self._watched_here or self._watched_elsewhere
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCHED_PERIOD_S if watched else UNWATCHED_PERIOD_S):
                    await self._hurry.wait()

    async def _exchange(self) -> None:
        watched_here = self._watched_here
        figures = self._live.figures() if watched_here or self._watched_elsewhere else None
        news: FiguresNews = await self._state.call("exchange_figures", self._live.router, figures, watched_here)
        self._watched_elsewhere, self._others = news.watched, news.others
        if watched_here:
            self._received_at = self._clock()


def _log_error(task: asyncio.Task[None]) -> None:
    """Log the error that ended the exchange, which the next check of the router's health begins anew."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("The figures of the live view are not exchanged: %r", error)


def figures_exchange(config: AppConfig, store: DeploymentHandle[Any] | None, live: Live) -> FiguresExchange | None:
    """Return what exchanges figures with other routers, or None if there are none, or no client can watch."""
    if store is None or config.router.page is False:
        return None
    return FiguresExchange(background_handle(config, store), live)
