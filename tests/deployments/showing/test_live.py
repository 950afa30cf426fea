"""Figures of the last minutes, worked out by hand for a few requests."""

from dataclasses import replace
from typing import Any

import pytest

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.ask import Ask
from serve_app.core.running.cascade import run_cascade
from serve_app.core.types.answer import Failure
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.prompt import Message, Prompt
from serve_app.deployments.router import Router
from serve_app.deployments.showing.live import Live
from serve_app.deployments.showing.live_view import LiveView
from tests.page.serving import built, configured


class Clock:
    """Seconds that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watched() -> tuple[Router, Clock]:
    router, _ = built(configured())
    clock = Clock()
    parts = router.parts
    parts.live = Live(parts.policies, parts.protection, parts.shedding, clock)
    parts.live_view = LiveView(parts.live, None, parts.policies, parts.readiness, parts.shedding, clock)
    return router, clock


async def decide(router: Router, question: str, failure: Failure | None = None, **options: Any) -> Outcome:
    cascade_options = CascadeOptions(include_answers=True, **options)
    ask = Ask("default", Prompt((Message("user", question),)), cascade_options)
    request = router.open(ask)
    outcome = await run_cascade(request.run)
    if failure is not None:
        outcome = replace(outcome, answer=failure)
    request.close(outcome)
    return outcome


async def figures(router: Router, clock: Clock) -> Any:
    clock.now += 1
    return (await router.parts.live_view.snapshot())["cascades"][0]  # type: ignore[index]


async def test_requests_are_counted_by_second_and_forgotten_after_five_minutes(watched: tuple[Router, Clock]) -> None:
    router, clock = watched
    for question in ("capital of France", "minutes", "minutes"):
        await decide(router, question)
    clock.now += 1
    await decide(router, "minutes", Failure("unavailable", "Away."))
    cascade = await figures(router, clock)
    assert (cascade["asked"], cascade["deferred"], cascade["failed"]) == (4, 3, 1)
    assert cascade["series"][-3:] == [[0, 0, 0], [3, 2, 0], [1, 1, 1]]
    assert len(cascade["series"]) == 120
    clock.now += 300
    cascade = await figures(router, clock)
    assert (cascade["asked"], cascade["deferred"], cascade["latency_s"]["p50"], cascade["cost"]) == (0, 0, None, {})


async def test_single_models_are_shown_once_they_are_asked_so_that_each_latest_decision_is_counted(
    watched: tuple[Router, Clock],
) -> None:
    router, clock = watched
    for model in ("default", "small-b", "small-a", "small-a"):
        request = router.open(Ask(model, Prompt((Message("user", "minutes"),))))
        request.close(await run_cascade(request.run))
    clock.now += 1
    snapshot: Any = await router.parts.live_view.snapshot()
    assert [(each["id"], each["single"], each["thresholds"], each["asked"]) for each in snapshot["cascades"]] == [
        ("default", False, [0.7], 1),
        ("small-a", True, [], 2),
        ("small-b", True, [], 1),
    ]
    assert sum(each["asked"] for each in snapshot["cascades"]) == len(snapshot["recent"])
    clock.now += 300
    snapshot = await router.parts.live_view.snapshot()
    assert [each["id"] for each in snapshot["cascades"]] == ["default"]


async def test_costs_are_those_of_the_cascade_beside_the_targets(watched: tuple[Router, Clock]) -> None:
    router, clock = watched
    await decide(router, "capital of France")
    cascade = await figures(router, clock)
    # 20 tokens read and 4 written: 2 x (5e8 + 1.5e8) x 24 beside 2 x 7e9 x 24
    assert cascade["cost"]["flops"] == [31.2e9, 336e9]


async def test_agreements_fill_a_histogram_over_the_signals_range(watched: tuple[Router, Clock]) -> None:
    router, clock = watched
    for question in ("capital of France", "minutes", "minutes"):
        await decide(router, question)
    agreements = (await figures(router, clock))["agreements"]
    assert (agreements["low"], agreements["high"], sum(agreements["counts"])) == (0.0, 1.0, 3)
    assert (agreements["counts"][20], agreements["counts"][39]) == (2, 1)  # 0.5 and 1


async def test_a_calibrated_cascade_is_shown_in_the_bins_of_its_calibration(watched: tuple[Router, Clock]) -> None:
    router, clock = watched
    agreements = {"low": 0.0, "high": 2.0, "counts": [7, 2, 1, 0]}
    note = {"id": "c-1", "thresholds": [0.7], "agreements": agreements}
    router.parts.policies.change({"calibrations": {"default": note}})
    for question in ("capital of France", "minutes", "minutes"):
        await decide(router, question)
    cascade = await figures(router, clock)
    assert cascade["agreements"] == {"low": 0.0, "high": 2.0, "counts": [0, 2, 1, 0]}  # 0.5 twice, and 1
    assert cascade["calibrated_agreements"] == [7, 2, 1, 0]


async def test_decisions_are_listed_without_a_text(watched: tuple[Router, Clock]) -> None:
    router, clock = watched
    await decide(router, "minutes")
    await decide(router, "capital of France")
    clock.now += 1
    snapshot: Any = await router.parts.live_view.snapshot()
    recent = [(entry["answered_by"], entry["deferred"], entry["agreement"]) for entry in snapshot["recent"]]
    assert recent == [("small-a", False, 1.0), ("large-t", True, 0.5)]
    assert "Paris" not in str(snapshot)
    assert "minutes" not in str(snapshot)
    entries = list(router.parts.live._recent)
    assert all(tier.answers is None for decided in entries for tier in decided.record.tiers)
    assert [decided.texts for decided in entries] == [None, None]


async def test_models_have_their_replicas_and_requests_in_progress(watched: tuple[Router, Clock]) -> None:
    router, _ = watched
    ask = Ask("default", Prompt((Message("user", "minutes"),)))
    request = router.open(ask)
    snapshot: Any = await router.parts.live_view.snapshot()
    first = {"name": "small-a", "replicas": 1, "in_progress": 1, "slots": 64, "left_out": 0}
    assert snapshot["models"][0] == first
    request.close(None)


async def test_who_asks_within_a_second_shares_a_snapshot(watched: tuple[Router, Clock]) -> None:
    router, clock = watched
    first = await router.parts.live_view.snapshot()
    clock.now += 0.5
    assert await router.parts.live_view.snapshot() is first
    clock.now += 0.5
    assert await router.parts.live_view.snapshot() is not first


async def test_thresholds_and_the_expected_rate_are_those_in_force(watched: tuple[Router, Clock]) -> None:
    router, clock = watched
    calibrated = {"id": "c1", "thresholds": [0.4], "deferral_rate": [0.3, 0.25, 0.35]}
    router.reconfigure({"thresholds": {"default": [0.4]}, "calibrations": {"default": calibrated}})
    cascade = await figures(router, clock)
    assert (cascade["thresholds"], cascade["calibration"], cascade["expected_deferral"]) == (
        [0.4],
        "c1",
        [0.3, 0.25, 0.35],
    )


async def test_texts_are_shown_if_the_operator_allows_it() -> None:
    router, _ = built(configured(page_texts=True))
    await decide(router, "capital of France " + 600 * "x")
    await decide(router, "minutes", Failure("unavailable", "Away."))
    snapshot: Any = await router.parts.live_view.snapshot()
    failed, answered = [entry["texts"] for entry in snapshot["recent"]]
    assert (snapshot["texts"], len(snapshot["router"])) == (True, 6)
    assert answered == {"prompt": "capital of France " + 182 * "x" + " …", "answer": "The capital is Paris."}
    assert failed == {"prompt": "minutes", "answer": None}
