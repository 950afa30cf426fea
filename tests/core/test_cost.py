import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.charges import charge
from serve_app.core.cost import Cost, EstimatedCost, ModelCost, Speed, cut_short, price, target_only
from serve_app.core.running.cascade import cascade_events
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.core.types.scores import Scores

SMALL = ModelCost(parameters=0.5e9, input_usd=0.1, output_usd=0.4)
LARGE = ModelCost(parameters=8e9, input_usd=1.0, output_usd=3.0, devices=2)
ENCODER_DECODER = ModelCost(parameters=0.4e9, prompt_parameters=0.3e9)
UNKNOWN = ModelCost(input_usd=2.5, output_usd=10.0, devices=0)


def reply(prompt_tokens: int, completion_tokens: int, latency_s: float = 0.0) -> Generation:
    return Generation("x", "stop", prompt_tokens, completion_tokens, latency_s=latency_s)


def close(cost: Cost) -> Cost:
    units = {name: getattr(cost, name) for name in ("flops", "usd", "device_s")}
    return replace(cost, **{name: None if unit is None else pytest.approx(unit) for name, unit in units.items()})


@pytest.mark.parametrize(
    ("model", "latency_s", "expected"),
    [
        # 2 x 0.5e9 x (100 + 20); (100 x .1 + 20 x .4) / 1e6; 1.5 s on one device
        (SMALL, 1.5, Cost(1.2e11, 1.8e-5, 1.5)),
        # 2 x 8e9 x 120; (100 x 1 + 20 x 3) / 1e6; 1.5 s on two devices
        (LARGE, 1.5, Cost(1.92e12, 1.6e-4, 3.0)),
        (LARGE, None, Cost(1.92e12, 1.6e-4, None)),
        # nobody tells the size behind an API, and its devices are not ours
        (UNKNOWN, 1.5, Cost(None, 4.5e-4, 0.0)),
        # without a price the dollars are unknown, not 0
        (ModelCost(parameters=1e9), 0.0, Cost(2.4e11, None, 0.0)),
        (ModelCost(parameters=1e9, input_usd=0.0), 0.0, Cost(2.4e11, 0.0, 0.0)),
        # 2 x (0.3e9 x 100 + 0.4e9 x 20)
        (ENCODER_DECODER, 0.0, Cost(7.6e10, None, 0.0)),
        # 9 s on two devices at 2 an hour are .01; with a price for tokens, both are paid
        (ModelCost(usd_per_device_hour=2.0, devices=2), 9.0, Cost(None, 0.01, 18.0)),
        (ModelCost(usd_per_device_hour=2.0, input_usd=10.0), 18.0, Cost(None, 0.011, 18.0)),
        (ModelCost(usd_per_device_hour=2.0, input_usd=10.0), None, Cost(None, None, None)),
    ],
)
def test_price_of_100_tokens_in_and_20_out(model, latency_s, expected):
    assert price(model, 100, 20, latency_s) == close(expected)


def test_costs_add_up_and_unknown_stays_unknown():
    assert Cost(1, 2, 3) + Cost(10, 20, 30) == Cost(11, 22, 33)
    assert Cost(1, 2, 3) + Cost(None, 20, None) == Cost(None, 22, None)
    assert Cost(None, None, None) + Cost() == Cost(None, None, None)


class TestSpeed:
    def test_nothing_is_known_at_first(self):
        speed = Speed()
        assert (speed.token_s, speed.seconds(5, 10), speed.tokens(1.0, 5)) == (None, None, None)

    def test_moving_average(self):
        speed = Speed()
        speed.observe(reply(1, 10, 2.0))
        assert speed.token_s == 0.2  # the first answer as it is
        speed.observe(reply(1, 10, 4.0))
        assert speed.token_s == pytest.approx(0.22)  # .2 + .1 x (.4 - .2)
        speed.observe(reply(1, 10, 4.0))
        assert speed.token_s == pytest.approx(0.238)  # .22 + .1 x (.4 - .22)

    def test_an_answer_without_tokens_counts_as_one(self):
        speed = Speed()
        speed.observe(reply(1, 0, 0.5))
        assert speed.token_s == 0.5

    def test_seconds_and_tokens(self):
        speed = Speed()
        speed.observe(reply(1, 4, 1.0))
        assert speed.seconds(5, 10) == 2.5
        assert speed.tokens(1.0, 5) == 4
        assert speed.tokens(1.1, 5) == 5  # a token begun is charged

    def test_reading_and_writing_are_told_apart_by_the_first_token(self):
        speed = Speed()
        speed.observe(replace(reply(50, 5, 3.0), first_token_s=1.0))
        assert (speed.prompt_token_s, speed.token_s) == (0.02, 0.5)  # 1 s / 50, then 2 s / 4
        assert speed.seconds(100, 10) == 7.0
        assert speed.tokens(3.0, 100) == 2
        assert speed.tokens(1.0, 100) == 0  # still reading

    def test_one_token_says_nothing_about_writing(self):
        speed = Speed()
        speed.observe(replace(reply(50, 1, 1.0), first_token_s=1.0))
        assert speed.seconds(100, 10) == 2.0
        assert speed.tokens(3.0, 100) is None

    def test_an_answer_that_came_at_once_was_not_written_in_that_time(self):
        """From an endpoint that sends answers whole, or behind a proxy that keeps them together."""
        speed = Speed()
        speed.observe(replace(reply(100, 120, 2.00004), first_token_s=2.0))
        assert (speed.prompt_token_s, speed.token_s) == (None, 2.00004 / 120)
        assert speed.tokens(3.0, 100) == 180

    def test_reading_is_taken_off_where_it_is_known(self):
        speed = Speed()
        speed.observe(replace(reply(100, 1, 1.0), first_token_s=1.0))
        speed.observe(reply(100, 10, 2.0))
        assert speed.seconds(100, 10) == pytest.approx(2.0)

    def test_no_time_at_all_says_nothing_about_tokens(self):
        speed = Speed()
        speed.observe(reply(1, 4, 0.0))
        assert speed.tokens(1.0, 5) is None
        assert speed.seconds(5, 10) == 0.0


class TestTargetOnly:
    def test_where_the_target_answered_it_is_what_it_cost(self):
        outcome = Outcome(reply(100, 20, 1.5), "large", (), 2.0)
        assert target_only(outcome, "large", LARGE, Speed()) == close(EstimatedCost(1.92e12, 1.6e-4, 3.0, False))

    def test_where_a_member_answered_it_is_estimated(self):
        speed = Speed()
        speed.observe(reply(1, 1, 0.1))
        outcome = Outcome(reply(100, 20, 0.5), "small", (), 2.0)
        # 20 tokens at .1 s, on two devices
        assert target_only(outcome, "large", LARGE, speed) == close(EstimatedCost(1.92e12, 1.6e-4, 4.0, True))

    def test_its_time_is_unknown_until_it_was_seen(self):
        outcome = Outcome(reply(100, 20, 0.5), "small", (), 2.0)
        assert target_only(outcome, "large", LARGE, Speed()) == close(EstimatedCost(1.92e12, 1.6e-4, None, True))

    def test_where_a_member_stood_in(self):
        failure = Failure("error", "", 100, 0, 0.5)
        outcome = Outcome(reply(100, 20, 0.5), "small", (), 2.0, replaced=failure)
        assert target_only(outcome, "large", LARGE, Speed()).estimated

    def test_where_the_target_failed(self):
        outcome = Outcome(Failure("error", "", 100, 0, 0.5), "large", (), 2.0)
        assert target_only(outcome, "large", LARGE, Speed()) == close(EstimatedCost(1.6e12, 1e-4, 1.0, False))


class TestCutShort:
    STOPPED = Failure("cancelled", "Stopped.")
    PROMPT = Prompt(messages=(Message("user", "x" * 30), Message("user", "é" * 5)))
    PEERS = (reply(40, 6), Failure("error", "", 42, 1), Failure("unavailable", ""))

    def cut(self, prompt=PROMPT, *, elapsed_s=2.0, latest=None, peers=PEERS, token_s=None) -> Failure:
        speed = Speed()
        speed.token_s = token_s
        return cut_short(self.STOPPED, prompt, elapsed_s=elapsed_s, latest=latest, peers=peers, speed=speed)

    def test_a_stream_was_counted_by_its_engine(self):
        failure = self.cut(latest=Delta("x", 41, 3), token_s=0.001)
        assert failure == Failure("cancelled", "Stopped.", 41, 3, 2.0, estimated=False)

    def test_its_peers_are_a_measure(self):
        assert self.cut() == Failure("cancelled", "Stopped.", 42, 6, 2.0, estimated=True)

    def test_its_speed_is_a_better_one(self):
        assert self.cut(token_s=0.25).completion_tokens == 8
        assert self.cut(token_s=0.25, elapsed_s=0.3).completion_tokens == 2

    def test_without_peers_the_text_is_measured(self):
        # 30 bytes and 10 bytes at 3 bytes a token, rounded up, and 8 for each message's frame
        assert self.cut(peers=()) == Failure("cancelled", "Stopped.", 10 + 4 + 16, 0, 2.0, estimated=True)
        assert self.cut(Prompt(text="x" * 31), peers=(Failure("unavailable", ""),)).prompt_tokens == 11

    def test_max_tokens_bounds_the_estimate(self):
        prompt = replace(self.PROMPT, sampling=Sampling(max_tokens=5))
        assert self.cut(prompt).completion_tokens == 5
        assert self.cut(prompt, token_s=0.01).completion_tokens == 5
        assert self.cut(prompt, token_s=1.0).completion_tokens == 2

    def test_no_speed_at_all(self):
        failure = cut_short(self.STOPPED, self.PROMPT, elapsed_s=1.0, latest=None, peers=self.PEERS, speed=None)
        assert failure.completion_tokens == 6


# The promise of the whole module: no token that an engine counted, and told of, is missing from the bill.


@dataclass
class Counting:
    """A model that counts for itself. `ticks` are turns of the event loop before each token; `ending` is its last act.

    `reported` holds the counts of its last delta, answer or failure: what its caller knows of, whatever happens.
    """

    prompt_tokens: int
    ticks: list[int]
    ending: str
    confesses: bool
    entered: int = 0
    reported: list[int] = field(default_factory=list)

    async def generate(self, prompt: Prompt) -> Answer:
        tokens = 0
        self.entered += 1
        try:
            for ticks in self.ticks:
                await turns(ticks)
                tokens += 1
            await turns(10_000 if self.ending == "hang" else 0)
            return self.tell(tokens)
        except asyncio.CancelledError:
            if not self.confesses:
                raise
            self.reported = [self.prompt_tokens, tokens]
            return Failure("cancelled", "Stopped.", self.prompt_tokens, tokens)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        self.entered += 1
        for tokens, ticks in enumerate(self.ticks, start=1):
            await turns(ticks)
            self.reported = [self.prompt_tokens, tokens]
            yield Delta("x", self.prompt_tokens, tokens)
        await turns(10_000 if self.ending == "hang" else 0)
        yield self.tell(len(self.ticks))

    def tell(self, tokens: int) -> Answer:
        self.reported = [self.prompt_tokens, tokens]
        if self.ending == "fail":
            return Failure("error", "Broken.", self.prompt_tokens, tokens)
        return Generation("x" * tokens, "stop", self.prompt_tokens, tokens)


async def turns(n: int) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


@dataclass
class Same:
    similarity: float

    async def score(self, signal: str, texts: list[str], since: int = 0) -> Scores:
        await turns(2)
        return Scores(tuple(tuple(self.similarity for _ in texts) for _ in texts))


engines = st.builds(
    Counting,
    prompt_tokens=st.integers(1, 50),
    ticks=st.lists(st.integers(0, 3), max_size=4),
    ending=st.sampled_from(["answer", "answer", "fail", "hang"]),
    confesses=st.booleans(),
)


@st.composite
def scripted(draw: st.DrawFn) -> tuple[Run, dict[str, Counting]]:
    sizes = [*draw(st.lists(st.integers(1, 3), max_size=2)), 1]
    models = {f"m{i}": draw(engines) for i in range(sum(sizes))}
    names = iter(models)
    tiers = [Tier(tuple(next(names) for _ in range(size)), signal="exact", threshold=0.5) for size in sizes]
    run = Run(
        Prompt(text="x"),
        tiers,
        models,
        Same(draw(st.sampled_from([0.25, 0.75]))),
        force=draw(st.sampled_from([None, None, "accept", "defer"])),
        fallback=draw(st.booleans()),
        stream=draw(st.booleans()),
    )
    return run, models


async def consume(run: Run, cancel_after: int, close_after: int) -> None:
    """Read the events; close the generator after so many of them, or be cancelled after so many turns."""

    async def read() -> None:
        events = cascade_events(run)
        try:
            for _ in range(close_after):
                await anext(events)
        except StopAsyncIteration:
            pass
        finally:
            await events.aclose()

    reader = asyncio.create_task(read())
    await turns(cancel_after)
    reader.cancel()
    with suppress(asyncio.CancelledError):
        await reader


@settings(max_examples=300)
@given(scripted(), st.one_of(st.integers(0, 40), st.just(200)), st.integers(1, 12))
def test_the_bill_is_never_less_than_what_the_engines_counted(script, cancel_after, close_after):
    run, models = script
    asyncio.run(consume(run, cancel_after, close_after))

    costs = {name: ModelCost(10.0**i, 1.0, 2.0) for i, name in enumerate(models)}
    costs_reported = [price(costs[name], *model.reported, 0.0) for name, model in models.items() if model.reported]
    total = charge(run, None, costs).request
    assert total.flops is not None
    assert total.usd is not None
    assert total.flops >= sum(cost.flops for cost in costs_reported if cost.flops) * (1 - 1e-12)
    assert total.usd >= sum(cost.usd for cost in costs_reported if cost.usd) * (1 - 1e-12)

    billed = {call.model: call.answer for call in run.calls}
    assert len(billed) == len(run.calls)  # no call twice
    for name, model in models.items():
        assert model.entered == 0 or name in billed  # and none missing
        if model.reported:
            answer = billed[name]
            assert [answer.prompt_tokens, answer.completion_tokens] == model.reported
            assert not (isinstance(answer, Failure) and answer.estimated)
    in_results = list(chain.from_iterable(result.calls for result in run.results))
    assert all(call in run.calls for call in in_results)
