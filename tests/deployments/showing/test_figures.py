"""Figures of several routers: however requests are shared out, the merged figures are those of one router with all."""

import asyncio
from dataclasses import replace
from functools import reduce
from itertools import permutations
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.api.intake.ask import Ask
from serve_app.core.charges import RequestCost
from serve_app.core.cost import EstimatedCost
from serve_app.core.deciding.histogram import Histogram
from serve_app.core.percentiles import nearest_rank
from serve_app.core.record import DecisionRecord
from serve_app.core.running.cascade import run_cascade
from serve_app.core.types.answer import Failure
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.prompt import Message, Prompt
from serve_app.core.types.signal_range import Range
from serve_app.deployments.router import Router
from serve_app.deployments.showing.figures import RECENT, CascadeFigures, Figures
from serve_app.deployments.showing.live import WINDOW_S, Live
from serve_app.deployments.showing.tally import GRID, GROWTH, Tally, summed
from tests.page.serving import built, configured

PROMPT = Prompt((Message("user", "minutes"),))
NOW = 1_764_504_000
ROUTERS = 3


class Request(NamedTuple):
    """What a request came to, and at which router it ended; times are unique, so that decisions have one order."""

    router: int
    at: float
    failed: bool
    deferred: bool
    total_s: float
    agreement: float | None
    flops: float | None


def decided() -> tuple[Router, Outcome, DecisionRecord]:
    """Return a router, and one of its requests that has ended."""
    router, _ = built(configured())
    request = router.open(Ask("default", PROMPT))
    outcome = asyncio.run(run_cascade(request.run))
    return router, outcome, request.close(outcome)


ROUTER, OUTCOME, RECORD = decided()

floats = st.floats(0, 1e12, allow_subnormal=False)
requests = st.lists(
    st.builds(
        Request,
        st.integers(0, ROUTERS - 1),
        st.floats(NOW - 2 * WINDOW_S, NOW),
        st.booleans(),
        st.booleans(),
        st.floats(1e-4, 1e4),
        st.none() | st.floats(-2, 2),
        st.none() | floats,
    ),
    max_size=60,
    unique_by=lambda request: request.at,
)


def record_of(request: Request) -> DecisionRecord:
    """Return the decision record of a request."""
    first = RECORD.tiers[0]
    assert first.decision is not None
    tier = replace(first, decision=replace(first.decision, agreement=request.agreement))
    cost = RequestCost(request.flops, 1.0, None, target_only=EstimatedCost(2.0, None, None))
    timings = replace(RECORD.timings, total=request.total_s)
    return replace(RECORD, tiers=(tier,), cost=cost, timings=timings, deferred=request.deferred)


def live_at(clock: list[float]) -> Live:
    parts = ROUTER.parts
    return Live(parts.policies, parts.protection, parts.shedding, lambda: clock[0])


def figures_of(ended: list[Request]) -> Figures:
    """Return the figures of a router of its own that these requests ended at."""
    clock = [0.0]
    live = live_at(clock)
    for request in sorted(ended, key=lambda request: request.at):
        clock[0] = request.at
        outcome = replace(OUTCOME, answer=Failure("error", "Away.")) if request.failed else OUTCOME
        live.ended(PROMPT, outcome, record_of(request))
    clock[0] = NOW
    return live.figures()


def parts_of(ended: list[Request]) -> list[Figures]:
    """Return the figures of each router."""
    return [figures_of([request for request in ended if request.router == number]) for number in range(ROUTERS)]


def figures_equal(first: Figures, second: Figures) -> bool:
    """Return whether figures are equal, whichever routers they are of; sums of floats may differ by rounding."""

    def exact(figures: Figures) -> object:
        cascades = {
            id_: replace(cascade, tally=replace(cascade.tally, costs={})) for id_, cascade in figures.cascades.items()
        }
        return figures.at, cascades, [(decision.at, decision.shown) for decision in figures.recent]

    def costs(figures: Figures) -> dict[str, dict[str, tuple[float, float]]]:
        return {id_: cascade.tally.costs for id_, cascade in figures.cascades.items()}

    rounded = {id_: {unit: pytest.approx(pair) for unit, pair in units.items()} for id_, units in costs(second).items()}
    return exact(first) == exact(second) and bool(costs(first) == rounded)


@given(requests)
def test_merged_figures_are_those_of_one_router_with_all_requests(ended: list[Request]) -> None:
    merged = reduce(Figures.merged, parts_of(ended))
    assert figures_equal(merged, figures_of(ended))
    assert len(merged.routers) == ROUTERS


@given(requests)
def test_the_order_in_which_figures_are_merged_is_of_no_account(ended: list[Request]) -> None:
    parts = parts_of(ended)
    first, *others = [reduce(Figures.merged, order) for order in permutations(parts)]
    assert all(figures_equal(first, other) and first.routers == other.routers for other in others)
    left, middle, right = parts
    assert figures_equal(left.merged(middle).merged(right), left.merged(middle.merged(right)))


@given(requests)
def test_merging_changes_neither_of_the_two(ended: list[Request]) -> None:
    left, right, _ = parts_of(ended)
    again, _, _ = parts_of(ended)
    left.merged(right)
    assert figures_equal(left, again)


@given(requests, st.sampled_from([1, 50, 95, 99, 100]))
def test_a_percentile_is_the_one_of_all_requests_to_a_hundredth(ended: list[Request], percent: int) -> None:
    lately = [request for request in ended if request.at >= NOW - WINDOW_S + 1]
    merged = reduce(Figures.merged, parts_of(lately))
    exact = nearest_rank([request.total_s for request in lately], percent)
    value = merged.cascades["default"].tally.latency_s(percent)
    assert value == (None if exact is None else pytest.approx(exact, rel=(GROWTH - 1) / 2))


@given(st.lists(st.floats(-3, 3), min_size=1), st.lists(st.floats(-3, 3)), st.none() | st.just(Range(0.0, 1.0)))
def test_the_histogram_is_the_one_of_all_agreements_to_a_step(
    first: list[float], second: list[float], signal_range: Range | None
) -> None:
    tallies = [Tally(), Tally()]
    for tally, values in zip(tallies, (first, second), strict=True):
        for value in values:
            tally.count(record_of(Request(0, NOW, False, False, 1.0, value, None)), failed=False)
    stepped = [round(value * GRID) / GRID for value in first + second]
    total = summed(tallies)
    assert total.histogram(None, signal_range) == Histogram.of(stepped, signal_range)
    calibrated = Histogram(0.0, 1.0, (3, 1, 0))
    assert total.histogram(calibrated, signal_range) == calibrated.filled(stepped)


def test_the_latest_decisions_of_all_are_listed() -> None:
    ended = [Request(number % 2, NOW - number, False, False, 1.0, None, None) for number in range(2 * RECENT)]
    merged = reduce(Figures.merged, parts_of(ended))
    assert [decision.at for decision in merged.recent] == [NOW - number for number in range(RECENT)]
    assert len({decision.router for decision in merged.recent}) == 2


def test_models_are_summed_and_pressure_is_the_highest() -> None:
    own = live_at([NOW]).figures()
    under_pressure = {"default": CascadeFigures(shedding=True, pressure=0.7)}
    others = replace(own, cascades=under_pressure | {"new": CascadeFigures(pressure=0.1)})
    merged = own.merged(others)
    model, alone = merged.models["small-a"], own.models["small-a"]
    assert (model.slots, model.in_progress, model.left_out) == (2 * alone.slots, 0, 0)
    assert (merged.cascades["default"].shedding, merged.cascades["default"].pressure) == (True, 0.7)
    assert merged.cascades["new"].pressure == 0.1  # of a router with a newer config


def test_a_clock_that_is_set_back_counts_nothing_of_the_future() -> None:
    clock = [NOW + 3600.0]
    live = live_at(clock)
    live.ended(PROMPT, OUTCOME, RECORD)
    clock[0] = NOW
    live.ended(PROMPT, OUTCOME, RECORD)
    figures = live.figures().cascades["default"]
    assert (figures.tally.requests, list(figures.series)) == (1, [NOW])
