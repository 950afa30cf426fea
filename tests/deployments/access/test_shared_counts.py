"""Limits of keys over several routers: how exact they are, and what a store that is away or begins anew costs."""

import asyncio
import pickle
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ray.serve.exceptions import RayServeException

from serve_app.config import AppConfig
from serve_app.config.key_file import ApiKey
from serve_app.deployments.access.access import Access
from serve_app.deployments.access.key_limits import DAY_S, MINUTE_S, KeyLimits
from serve_app.deployments.access.shared_counts import EXCHANGE_S, SharedCounts, shared_counts
from serve_app.deployments.remembering.state_store import StateStore
from serve_app.deployments.remembering.window_counts import Window, WindowCounts
from serve_app.evaluation.analysis.timing import virtual_time
from tests.deployments.remembering.store_handle import LIMITS, StoreHandle
from tests.deployments.replies import CASCADES, MODELS
from tests.patience import PATIENCE_S

NAME = "alice"
BEGIN = 1_764_504_000.0 - crc32(NAME.encode()) % MINUTE_S
"""The beginning of one of the key's minutes, shortly before noon of 2025-11-30 (UTC)."""
ROUND_TRIP_S = 0.02
BLIND_S = 2 * EXCHANGE_S + 3.5 * ROUND_TRIP_S
"""How long a router may go on without knowing what the others have admitted."""
SOON_S = 5 * EXCHANGE_S
"""Until all routers know everything."""


@contextmanager
def virtual_clock() -> Iterator[None]:
    """For the limits of keys, the time of the day goes with the loop's."""
    clock = SimpleNamespace(time=lambda: BEGIN + asyncio.get_running_loop().time())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("serve_app.deployments.access.key_limits.time", clock)
        yield


def run(main: Coroutine[Any, Any, None]) -> None:
    with virtual_clock():
        virtual_time.run(main)


def limited(**limits: Any) -> ApiKey:
    return ApiKey(sha256="0" * 64, **limits)


class Line:
    """A store behind calls that take up to `ROUND_TRIP_S`, at random."""

    def __init__(self, store: StateStore, chance: Random) -> None:
        self._store = store
        self._chance = chance

    async def call(self, method: str, *arguments: Any) -> Any:
        await asyncio.sleep(self._chance.uniform(0, ROUND_TRIP_S / 2))
        result = await getattr(self._store, method)(*pickle.loads(pickle.dumps(arguments)))
        await asyncio.sleep(self._chance.uniform(0, ROUND_TRIP_S / 2))
        return result


async def admitted(arrivals: list[list[float]], limit: int, seed: int) -> int:
    """Ask one router for each list at these seconds; return how many requests were admitted."""
    store, chance = StateStore(LIMITS, 100), Random(seed)
    key = limited(requests_per_minute=limit)

    async def ask(limits: KeyLimits, at_s: float) -> bool:
        await asyncio.sleep(at_s)
        return await limits.admit(NAME, key) is None

    lines: list[Any] = [Line(store, chance) for _ in arrivals]
    routers = [KeyLimits(SharedCounts(line)) for line in lines]
    admissions = [ask(router, at_s) for router, times in zip(routers, arrivals, strict=True) for at_s in times]
    return sum(await asyncio.gather(*admissions))


def most_within(times: list[float], length_s: float) -> int:
    return max((sum(begin <= at_s <= begin + length_s for at_s in times) for begin in times), default=0)


times_within_a_minute = st.lists(st.integers(0, 50_000).map(lambda ms: ms / 1000), max_size=120)


@given(st.lists(times_within_a_minute, min_size=2, max_size=4), st.integers(1, 60), st.integers(0, 99))
@example([[0.0] * 50, [0.0] * 50], 10, 0)
@example([[number / 100 for number in range(500)]] * 3, 60, 0)
@settings(max_examples=60, deadline=None)
def test_at_most_the_limit_and_what_comes_before_routers_can_know(
    arrivals: list[list[float]], limit: int, seed: int
) -> None:
    with virtual_clock():
        passed = virtual_time.run(admitted(arrivals, limit, seed))
    blind = sum(most_within(times, BLIND_S) for times in arrivals)
    assert min(limit, sum(map(len, arrivals))) <= passed <= limit + blind


class Routers:
    """What several routers know of one key, over one store."""

    def __init__(self, folder: Path) -> None:
        self.store = StoreHandle()
        file = folder / "keys.yaml"
        file.write_text("api_keys: {}\n")
        file.chmod(0o600)
        self.config = config(keys_file=str(file))

    def new(self) -> KeyLimits:
        """Begin another router."""
        handle: Any = self.store
        return Access(self.config.router.access, shared_counts(self.config, handle)).limits

    def store_begins_anew(self) -> None:
        self.store.store = StateStore(LIMITS, 100)


def config(routers: int = 2, **access: Any) -> AppConfig:
    router = {"deployment": {"num_replicas": routers}, "access": access}
    return AppConfig.model_validate({"models": MODELS, "cascades": {"default": CASCADES["default"]}, "router": router})


@pytest.fixture
def routers(tmp_path: Path) -> Routers:
    return Routers(tmp_path)


async def admit(limits: KeyLimits, key: ApiKey, times: int) -> int:
    """Ask so many times at once; return how many requests were admitted."""
    return [await limits.admit(NAME, key) for _ in range(times)].count(None)


async def known_to(limits: KeyLimits) -> None:
    """Wait until a router knows what the others have counted: it asks when it is asked."""
    await asyncio.sleep(SOON_S)  # the others have told the store
    await limits.headers(NAME, SIX)
    await asyncio.sleep(SOON_S)


SIX = limited(requests_per_minute=6)


def test_requests_at_one_router_count_at_the_others(routers: Routers) -> None:
    async def main() -> None:
        first, second, third = routers.new(), routers.new(), routers.new()
        assert [await admit(first, SIX, 3), await admit(second, SIX, 2)] == [3, 2]
        await known_to(first)
        assert await admit(first, SIX, 3) == 1
        assert await admit(third, SIX, 2) == 2  # it was not asked before, so it does not know
        await known_to(second)
        assert [await admit(limits, SIX, 3) for limits in (first, second, third)] == [0, 0, 0]
        assert (await second.headers(NAME, SIX))["x-ratelimit-remaining-requests"] == "0"
        await asyncio.sleep(MINUTE_S)
        assert await admit(second, SIX, 7) == 6

    run(main())


@pytest.mark.parametrize(
    ("key", "tokens", "usd"),
    [(limited(tokens_per_minute=100), 100, 0.0), (limited(usd_per_day=0.5), 0, 0.5)],
    ids=["tokens", "dollars"],
)
def test_what_is_used_up_at_one_router_is_at_the_others(routers: Routers, key: ApiKey, tokens: int, usd: float) -> None:
    async def main() -> None:
        first, second = routers.new(), routers.new()
        assert [await admit(limits, key, 1) for limits in (first, second)] == [1, 1]
        await first.spend(NAME, key, tokens, usd)
        await asyncio.sleep(SOON_S)
        await known_to(second)
        assert await admit(second, key, 1) == 0
        await asyncio.sleep(DAY_S)
        assert await admit(second, key, 1) == 1

    run(main())


@pytest.mark.parametrize("hangs", [True, False])
def test_without_the_store_each_router_counts_by_itself(routers: Routers, hangs: bool) -> None:
    async def main() -> None:
        first, second = routers.new(), routers.new()
        routers.store.hangs, routers.store.error = hangs, None if hangs else RayServeException("gone")
        assert [await admit(first, SIX, 4), await admit(second, SIX, 4)] == [4, 4]
        await asyncio.sleep(2)
        assert [await admit(first, SIX, 4), await admit(second, SIX, 1)] == [2, 1]
        routers.store.hangs, routers.store.error = False, None
        await asyncio.sleep(2)  # both have told the store by now, without being asked
        await known_to(second)
        assert await admit(second, SIX, 1) == 0  # its own would be the sixth

    run(main())


def test_a_store_that_begins_anew_is_told_what_there_was(routers: Routers) -> None:
    async def main() -> None:
        first, second = routers.new(), routers.new()
        for limits in (first, second, first):
            await admit(limits, SIX, 2)
            await asyncio.sleep(SOON_S)
        await known_to(first)
        routers.store_begins_anew()
        del second  # a router that is gone
        await first.admit("bob", SIX)  # of another key
        await asyncio.sleep(SOON_S)
        third = routers.new()
        await known_to(third)
        assert await admit(third, SIX, 1) == 0

    run(main())


def test_what_may_have_arrived_is_sent_again_and_counted_once(routers: Routers) -> None:
    async def main() -> None:
        first, second = routers.new(), routers.new()
        routers.store.late = {"exchange_counts"}
        assert await admit(first, SIX, 3) == 3
        await asyncio.sleep(2)
        routers.store.late = set()
        for limits in (first, second):
            await known_to(limits)
            assert (await limits.headers(NAME, SIX))["x-ratelimit-remaining-requests"] == "3"

    run(main())


def test_nothing_is_exchanged_while_nobody_asks(routers: Routers) -> None:
    async def main() -> None:
        limits = routers.new()
        await admit(limits, limited(), 1)  # of a key without limits
        await asyncio.sleep(SOON_S)
        assert routers.store.calls == []
        await admit(limits, SIX, 3)
        await asyncio.sleep(60)
        assert routers.store.calls == ["exchange_counts"]

    run(main())


def test_what_is_over_is_forgotten() -> None:
    now = [0.0]
    counts = WindowCounts(lambda: now[0])
    counts.add("minute", 60, "first", 1)
    counts.merge([Window("day", 600, {"first": 5, "second": 2})])
    now[0] = 59
    assert counts.changed_since(1) == [Window("day", 541, {"first": 5, "second": 2})]
    assert counts.total("minute") == 1
    now[0] = 60
    counts.changed_since(0)
    assert (counts.total("minute"), counts.total("day")) == (0, 7)


def test_of_two_numbers_the_larger_one_is_right() -> None:
    counts = WindowCounts()
    for number in (3, 2, 4):
        counts.merge([Window("minute", 60, {"first": number})])
    assert (counts.total("minute"), counts.version) == (4, 2)


@pytest.mark.parametrize("access", [{}, {"keys_file": "k", "limits_url": "redis://redis:6379"}])
def test_without_keys_or_with_a_redis_nothing_is_shared(access: dict[str, str]) -> None:
    store: Any = StoreHandle()
    assert shared_counts(config(**access), store) is None


def test_a_single_router_counts_alone() -> None:
    assert shared_counts(config(1, keys_file="k"), None) is None


async def test_an_exchange_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def call(self, *_: Any) -> None:
            raise ValueError("not a window")

    store: Any = Broken()
    assert await SharedCounts(store).incr("requests/alice/1", MINUTE_S) == 1
    async with asyncio.timeout(PATIENCE_S):
        while not caplog.messages:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.001)
    assert caplog.messages == ["The counts of API keys are not exchanged: ValueError('not a window')"]
