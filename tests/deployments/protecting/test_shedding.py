"""A router under pressure: what it accepts then, what it says of it, and who is left alone."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.ask import Ask
from serve_app.config import AppConfig
from serve_app.core.record import DecisionRecord
from serve_app.core.record_json import from_json, to_json
from serve_app.core.running.cascade import outcome_of, run_cascade
from serve_app.core.types.answer import Answer
from serve_app.core.types.outcome import Shed
from serve_app.core.types.prompt import Prompt, Sampling
from serve_app.deployments.observing.metrics import SHED, SHEDDING, Metric
from serve_app.deployments.protecting.load import Permit
from serve_app.deployments.request import RequestInProgress
from serve_app.deployments.router import Router
from serve_app.errors import RequestError
from tests.deployments.replies import LONG, MEMBERS, PARIS, QUESTION, ROME, Deployment

GREEDY = Prompt(QUESTION.messages, sampling=Sampling(temperature=0.0))
SLOTS = {"slots": 2}
"""With `max_waiting: 2` a queue of four, of which two are half."""
CALIBRATED = {"id": "c1", "thresholds": [0.5], "shed": {"thresholds": [0.0]}}


class Served:
    """A router whose target has two slots and a queue of four; its members disagree, by 0."""

    def __init__(self, shed: Any, b: Answer = ROME, user_config: Any = None, **cascade: Any) -> None:
        replay = {"engine": "replay", "default": "x", "parameters": 1e9}
        tiers = [MEMBERS, {"models": ["t"]}]
        values = {
            "models": {"a": replay, "b": replay, "t": replay | SLOTS},
            "cascades": {"default": {"tiers": tiers, "shed": shed} | cascade},
        }
        handles: dict[str, Any] = {"a": Deployment(PARIS), "b": Deployment(b), "t": Deployment(LONG)}
        self.router = Router(AppConfig.model_validate(values), handles, handles["a"], {})
        if user_config is not None:
            self.router.reconfigure(user_config)
        self.now = 0.0
        for state in self.router.parts.shedding._states.values():
            state._clock = lambda: self.now
        self.measures: list[tuple[Any, ...]] = []
        self.router.parts.instruments.record = self._record  # type: ignore[method-assign]

    def _record(self, metric: Metric, value: float, *labels: str) -> None:
        self.measures.append((metric.name, value, *labels))

    def measured(self, metric: Metric) -> list[tuple[Any, ...]]:
        return [measure[1:] for measure in self.measures if measure[0] == metric.name]

    def wait_for_target(self, requests: int = 4) -> list[Permit]:
        return [self.router.parts.protection.loads["t"].acquire() for _ in range(requests)]

    def open(self, prompt: Prompt = QUESTION, **options: Any) -> RequestInProgress:
        return self.router.open(Ask("default", prompt, CascadeOptions(**options)))

    async def ask(self, prompt: Prompt = QUESTION, **options: Any) -> DecisionRecord:
        recalled = await self.router.recall(Ask("default", prompt, CascadeOptions(**options)))
        request = self.router.open(recalled)
        return request.close(await outcome_of(request.events()))


class Prechecked:
    """Every cascade has past requests to look at."""

    def of(self, *_: Any) -> object:
        return object()


def calibrated() -> dict[str, Any]:
    return {"thresholds": {"default": [0.5]}, "calibrations": {"default": CALIBRATED}}


async def test_under_pressure_the_calibrated_lower_threshold_decides() -> None:
    served = Served({}, user_config=calibrated())
    usual = await served.ask()
    assert (usual.answered_by, usual.calibration, usual.shed) == ("t", "c1", None)
    served.wait_for_target()
    record = await served.ask()
    assert (record.answered_by, record.reason, record.calibration) == ("a", "agreement", None)
    assert record.shed == Shed("thresholds", 0.5, "c1")
    assert record.tiers[0].decision is not None
    assert record.tiers[0].decision.threshold == 0.0
    assert to_json(record)["shed"] == {"by": "thresholds", "pressure": 0.5, "calibration": "c1"}
    assert from_json(to_json(record)).shed == record.shed
    assert served.measured(SHED) == [(1, "default", "thresholds")]


async def test_by_members_whatever_they_say_goes_back() -> None:
    served = Served({"by": "members"})
    served.wait_for_target()
    record = await served.ask()
    assert (record.answered_by, record.reason, record.shed) == ("a", "shed", Shed("members", 0.5))
    assert served.measured(SHED) == [(1, "default", "members")]


async def test_it_begins_with_half_of_the_queue_and_ends_once_that_was_empty_for_a_while() -> None:
    served = Served({"by": "members"})
    permits = served.wait_for_target(3)
    assert (await served.ask()).shed is None
    permits += served.wait_for_target(1)
    assert (await served.ask()).shed is not None
    for permit in permits:
        permit.release()
    assert (await served.ask()).shed == Shed("members", 0.0)
    served.now = 9.9
    assert (await served.ask()).shed is not None
    served.now = 10.0
    assert (await served.ask()).shed is None


async def test_it_ends_though_nobody_asked_for_a_while() -> None:
    served = Served({"by": "members"})
    permits = served.wait_for_target()
    request = served.open()
    for permit in permits:
        permit.release()
    request.close(await run_cascade(request.run))
    served.now = 3600.0
    assert served.open().run.shed is None


async def test_without_lower_thresholds_nothing_is_shed() -> None:
    served = Served({}, user_config={"calibrations": {"default": {"id": "c1", "thresholds": [0.5]}}})
    served.wait_for_target()
    assert (await served.ask()).shed is None
    assert list(served.router.parts.shedding.states()) == [("default", False, 0.5)]


async def test_thresholds_that_are_no_lower_shed_nothing() -> None:
    note = CALIBRATED | {"shed": {"thresholds": [0.5]}}
    served = Served({}, user_config={"thresholds": {"default": [0.5]}, "calibrations": {"default": note}})
    served.wait_for_target()
    record = await served.ask()
    assert (record.shed, record.calibration) == (None, "c1")
    assert served.measured(SHED) == []


async def test_the_configs_own_hold_until_a_calibration_brings_some() -> None:
    served = Served({"thresholds": [0.1]})
    served.wait_for_target()
    run = served.open().run
    assert (run.tiers[0].threshold, run.shed) == (0.1, Shed("thresholds", 0.5))
    served.router.reconfigure(calibrated())
    run = served.open().run
    assert (run.tiers[0].threshold, run.shed) == (0.0, Shed("thresholds", 0.5, "c1"))


@pytest.mark.parametrize(
    ("shed", "message"),
    [
        ([0.6], "user_config.calibrations.default.shed.thresholds[0]: 0.6 is above the threshold 0.5; it must be no"),
        (
            [0.1, 0.1],
            "user_config.calibrations.default.shed.thresholds: needs 1, one for each tier but the last, got 2",
        ),
    ],
)
def test_thresholds_that_would_defer_more_are_refused(shed: list[float], message: str) -> None:
    note = CALIBRATED | {"shed": {"thresholds": shed}}
    served = Served({}, user_config={"calibrations": {"default": note}})
    assert served.router.parts.policies.refused is not None
    assert str(served.router.parts.policies.refused["message"]).startswith(message)


@pytest.mark.parametrize(
    "own",
    [
        {"threshold": 0.5},
        {"signal": "bleu"},
        {"force": "defer"},
        {"force": "accept"},
        {"compare": {"strip": ["markdown"]}},
    ],
)
def test_a_request_that_says_how_it_is_decided_is_decided_so(own: dict[str, Any]) -> None:
    served = Served({"by": "members"})
    served.wait_for_target()
    assert served.open(**own).run.shed is None


async def test_a_conversation_that_stays_with_the_target_does_so() -> None:
    served = Served({"by": "members"}, stickiness="escalate")
    assert (await served.ask(session="s")).answered_by == "t"
    served.wait_for_target()
    record = await served.ask(session="s")
    assert (record.answered_by, record.reason, record.shed) == ("t", "session", None)


async def test_what_is_accepted_under_pressure_begins_no_such_conversation() -> None:
    served = Served({"by": "members"}, stickiness="escalate")
    permits = served.wait_for_target()
    assert (await served.ask(session="s")).answered_by == "a"
    for permit in permits:
        permit.release()
    assert (await served.ask(session="s")).reason != "session"


async def test_a_budget_holds_as_well() -> None:
    """The members' tier is not asked if it costs more, though it would accept anything."""
    served = Served({"by": "members"})
    served.wait_for_target()
    record = await served.ask(max_flops=1)
    assert record.shed is not None
    assert (record.reason, record.cost.flops) == ("unaffordable", 0)


async def test_nothing_is_asked_ahead_of_a_decision_under_pressure() -> None:
    served = Served({"by": "members"}, speculate="always")
    assert served.open().run.speculation is not None
    served.wait_for_target()
    assert served.open().run.speculation is None


async def test_no_past_requests_send_one_to_the_target_under_pressure() -> None:
    served = Served({"by": "members"})
    prechecks: Any = Prechecked()
    served.router.parts.builder = replace(served.router.parts.builder, prechecks=prechecks)
    assert served.open().run.prechecker is not None
    served.wait_for_target()
    assert served.open().run.prechecker is None


@pytest.mark.parametrize(("opt_out", "shed"), [(True, None), (False, Shed("members", 0.5))])
def test_a_request_opts_out_where_the_operator_lets_it(opt_out: bool, shed: Shed | None) -> None:
    served = Served({"by": "members", "opt_out": opt_out})
    served.wait_for_target()
    if opt_out:
        assert served.open(shed=False).run.shed is None
    else:
        with pytest.raises(RequestError, match=r"^cascade\.shed: requests cannot opt out of it at 'default'") as caught:
            served.open(shed=False)
        assert caught.value.param == "cascade.shed"
    assert served.open().run.shed == Shed("members", 0.5)


async def test_where_nothing_is_shed_opting_out_changes_nothing() -> None:
    assert (await Served(None).ask(shed=False)).answered_by == "t"


class TestWithACache:
    async def test_an_answer_under_pressure_is_not_kept(self) -> None:
        served = Served({"by": "members"}, cache={})
        permits = served.wait_for_target()
        assert (await served.ask(GREEDY)).answered_by == "a"
        again = await served.ask(GREEDY)
        assert (again.answered_by, again.cached) == ("a", None)
        for permit in permits:
            permit.release()
        served.now = 1.0
        assert (await served.ask(GREEDY)).shed is not None
        served.now = 20.0
        later = await served.ask(GREEDY)
        assert (later.answered_by, later.cached, later.shed) == ("t", None, None)

    async def test_equal_requests_at_the_same_time_share_a_run_if_all_are_shed_or_none(self) -> None:
        served = Served({"by": "members"}, cache={})
        permits = served.wait_for_target()
        requests = [served.open(GREEDY), served.open(GREEDY)]
        for permit in permits:
            permit.release()
        assert served.open(GREEDY).run.shed is not None
        served.now = 20.0
        requests.append(served.open(GREEDY))
        outcomes = await asyncio.gather(*(outcome_of(request.events()) for request in requests))
        assert [outcome.answered_by for outcome in outcomes] == ["a", "a", "t"]
        assert [outcome.cached is not None for outcome in outcomes] == [False, True, False]

    async def test_a_kept_answer_goes_before_it(self) -> None:
        served = Served({"by": "members"}, cache={})
        assert (await served.ask(GREEDY)).answered_by == "t"
        served.wait_for_target()
        record = await served.ask(GREEDY)
        assert record.cached is not None
        assert (record.answered_by, record.shed) == ("t", None)


async def test_gauges_and_live_view_say_so() -> None:
    served = Served({"by": "members"})
    await served.router.check_health()
    served.wait_for_target(6)
    assert served.open().run.shed == Shed("members", 1.0)
    await served.router.check_health()
    assert served.measured(SHEDDING) == [(0, "default"), (1, "default")]
    [cascade] = (await served.router.parts.live_view.snapshot())["cascades"]
    assert cascade["shed"] == {"by": "members", "active": True, "pressure": 1.0}
    assert (await served.router.readiness()).details["shedding"] == ["default"]
    await served.ask()
    assert served.router.parts.live._recent[-1].record.shed is not None
