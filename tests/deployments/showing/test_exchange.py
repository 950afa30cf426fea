"""Routers that show each other's figures through a store: who sees what, what it costs, and what a failure does."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from ray.serve.exceptions import RayServeException

from serve_app.api.intake.ask import Ask
from serve_app.config import AppConfig
from serve_app.core.running.cascade import run_cascade
from serve_app.core.types.prompt import Message, Prompt
from serve_app.deployments.protecting.liveness import Health
from serve_app.deployments.remembering.shared import background_handle
from serve_app.deployments.remembering.state_store import StateStore
from serve_app.deployments.showing.board import GONE_S
from serve_app.deployments.showing.exchange import (
    UNWATCHED_PERIOD_S,
    WATCHED_PERIOD_S,
    FiguresExchange,
    figures_exchange,
)
from serve_app.deployments.showing.figures import Figures
from serve_app.deployments.showing.live_view import REUSED_S, LiveView
from serve_app.evaluation.analysis.timing import virtual_time
from tests.deployments.remembering.store_handle import LIMITS, StoreHandle
from tests.page.serving import built, configured
from tests.patience import PATIENCE_S

SOON_S = UNWATCHED_PERIOD_S + 2 * WATCHED_PERIOD_S + 0.1
"""Until a view shows all routers."""


def loop_time() -> float:
    return asyncio.get_running_loop().time()


class Watched:
    """A router with its live view, over a store that it shares."""

    def __init__(self, store: StoreHandle) -> None:
        handle: Any = store
        self.router, _ = built(configured())
        parts = self.router.parts
        parts.readiness._look = look  # no thread, which virtual time could not wait for
        parts.readiness.now = lambda: ready(parts.readiness)  # type: ignore[method-assign]
        self.live = parts.live
        self.exchange = FiguresExchange(background_handle(parts.config, handle), self.live, loop_time)
        self.view = LiveView(self.live, self.exchange, parts.policies, parts.readiness, parts.shedding, loop_time)
        self.exchange.begin()

    async def ask(self, question: str = "capital of France") -> None:
        request = self.router.open(Ask("default", Prompt((Message("user", question),))))
        request.close(await run_cascade(request.run))

    def die(self) -> None:
        assert self.exchange._exchanging is not None
        self.exchange._exchanging.cancel()

    async def watched_for(self, seconds: float) -> Any:
        """Watch for a while, and return the last snapshot."""
        ends = loop_time() + seconds
        while True:
            snapshot = await self.view.snapshot()
            if loop_time() >= ends:
                return snapshot
            await asyncio.sleep(REUSED_S + 0.1)


def look() -> dict[str, Health]:
    return {"Router": Health(2, "HEALTHY")}


async def ready(probe: Any) -> Any:
    return probe.of(look())


def run(main: Callable[[StoreHandle, Watched, Watched], Coroutine[Any, Any, None]]) -> None:
    """Run `main` in virtual time, with a store and two routers over it."""

    async def begun() -> None:
        store = StoreHandle(clock=loop_time)
        await main(store, Watched(store), Watched(store))

    virtual_time.run(begun())


def requests(snapshot: Any) -> int:
    count: int = snapshot["cascades"][0]["asked"]
    return count


def test_a_view_shows_the_requests_of_all_routers() -> None:
    async def main(store: StoreHandle, first: Watched, second: Watched) -> None:
        third = Watched(store)
        await first.ask()
        await second.ask("minutes")
        await second.ask("minutes")
        snapshot = await first.view.snapshot()
        assert (requests(snapshot), snapshot["routers"]) == (1, [first.live.router])
        snapshot = await first.watched_for(SOON_S)
        assert (requests(snapshot), snapshot["cascades"][0]["deferred"]) == (3, 2)
        assert snapshot["routers"] == sorted(router.live.router for router in (first, second, third))
        assert (snapshot["router"], snapshot["running_routers"]) == (first.live.router, 2)
        assert [entry["answered_by"] for entry in snapshot["recent"]] == ["large-t", "large-t", "small-a"]
        assert snapshot["others_unreachable"] is False
        await third.ask()
        assert requests(await second.watched_for(SOON_S)) == 4

    run(main)


def test_nothing_but_small_questions_goes_out_while_nobody_watches() -> None:
    async def main(store: StoreHandle, first: Watched, second: Watched) -> None:
        await first.ask()
        await asyncio.sleep(60)
        assert len(store.calls) <= 2 * (60 / UNWATCHED_PERIOD_S + 1)
        assert store.store._board._figures == {}
        await second.watched_for(SOON_S)
        assert store.store._board._figures.keys() == {first.live.router, second.live.router}
        await asyncio.sleep(3 * GONE_S)
        assert store.store._board._figures == {}
        store.calls.clear()
        await asyncio.sleep(60)
        assert len(store.calls) <= 2 * (60 / UNWATCHED_PERIOD_S + 1)

    run(main)


def test_a_router_that_died_leaves_the_sums() -> None:
    async def main(store: StoreHandle, first: Watched, second: Watched) -> None:
        await second.ask()
        assert requests(await first.watched_for(SOON_S)) == 1
        second.die()
        snapshot = await first.watched_for(GONE_S + 2 * WATCHED_PERIOD_S)
        assert (requests(snapshot), snapshot["routers"]) == (0, [first.live.router])

    run(main)


@pytest.mark.parametrize("hangs", [True, False])
def test_without_the_store_a_view_shows_its_own_router_and_says_so(hangs: bool) -> None:
    async def main(store: StoreHandle, first: Watched, second: Watched) -> None:
        for router in (first, second):
            await router.ask()
        assert requests(await first.watched_for(SOON_S)) == 2
        store.hangs, store.error = hangs, None if hangs else RayServeException("gone")
        snapshot = await first.watched_for(GONE_S + 2)
        assert (requests(snapshot), snapshot["routers"]) == (1, [first.live.router])
        assert snapshot["others_unreachable"] is True
        store.hangs, store.error = False, None
        snapshot = await first.watched_for(SOON_S)
        assert (requests(snapshot), snapshot["others_unreachable"]) == (2, False)

    run(main)


def test_a_store_that_was_never_there_is_named_after_a_while() -> None:
    async def main(store: StoreHandle, router: Watched, _: Watched) -> None:
        store.error = RayServeException("gone")  # before the first exchange
        await asyncio.sleep(60)
        assert (await router.view.snapshot())["others_unreachable"] is False  # it has not been asked yet
        assert (await router.watched_for(GONE_S + 1))["others_unreachable"] is True

    run(main)


def test_a_store_that_begins_anew_has_all_figures_soon() -> None:
    async def main(store: StoreHandle, first: Watched, second: Watched) -> None:
        await second.ask()
        assert requests(await first.watched_for(SOON_S)) == 1
        store.store = StateStore(LIMITS, 100, loop_time)
        assert requests(await first.watched_for(SOON_S)) == 1

    run(main)


def test_the_curve_ends_with_the_last_second_that_all_have_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def figures(at: float) -> Figures:
        alone = figures_now()
        return Figures(frozenset({"other"}), at, alone.cascades, {}, ())

    router, _ = built(configured())
    parts, now = router.parts, [1_000_000.5]
    monkeypatch.setattr(parts.live, "_clock", lambda: now[0])
    figures_now = parts.live.figures

    class Others:
        at = 0.0

        def others(self) -> list[Figures]:
            return [figures(self.at)]

    others: Any = Others()
    view = LiveView(parts.live, others, parts.policies, parts.readiness, parts.shedding)

    async def series(at: float) -> list[list[int]]:
        others.at = at
        snapshot: Any = await view._snapshot()
        rows: list[list[int]] = snapshot["cascades"][0]["series"]
        return rows

    async def main() -> None:
        request = router.open(Ask("default", Prompt((Message("user", "minutes"),))))
        request.close(await run_cascade(request.run))
        now[0] += 3
        assert (await series(now[0] - 1))[-2] == [2, 2, 0]
        assert (await series(now[0] - 2))[-1] == [2, 2, 0]
        assert (await series(now[0] - 3600))[-1] == [0, 0, 0]  # a clock that is wrong does not stop the curve
        assert len(await series(now[0])) == 120

    asyncio.run(main())


async def test_an_exchange_that_fails_is_logged_and_begun_anew(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def call(self, *_: Any) -> None:
            raise ValueError("not figures")

    store: Any = Broken()
    router, _ = built(configured())
    exchange = router.parts.exchange = FiguresExchange(store, router.parts.live)
    for number in (1, 2):
        await router.check_health()
        async with asyncio.timeout(PATIENCE_S):
            while len(caplog.messages) < number:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.001)
    assert caplog.messages == ["The figures of the live view are not exchanged: ValueError('not figures')"] * 2
    assert exchange._exchanging is not None


def test_one_router_or_one_without_a_page_exchanges_nothing() -> None:
    router, _ = built(configured())
    parts = router.parts
    store: Any = StoreHandle()
    assert parts.exchange is None
    assert figures_exchange(parts.config, store, parts.live) is not None
    hidden: AppConfig = configured(page=False)
    assert figures_exchange(hidden, store, parts.live) is None
