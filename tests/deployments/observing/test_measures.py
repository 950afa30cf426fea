"""What requests add to the metrics, worked by hand."""

from typing import Any

import pytest

from serve_app.core.charges import charge
from serve_app.core.cost import ModelCost
from serve_app.core.record import decision_record
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.core.types.outcome import Cached, Call, Outcome, Precheck, TierResult
from serve_app.core.types.policy import Agreement, Decision, Tier
from serve_app.core.types.prompt import Message, Prompt
from serve_app.core.types.scores import Scores
from serve_app.deployments.observing.measures import request_measures

COSTS = {"a": ModelCost(1e9, 0), "b": ModelCost(2e9, 0), "t": ModelCost(30e9, input_usd=1e6, output_usd=2e6)}
MEMBERS = Tier(("a", "b"), signal="sbert", threshold=0.8)
TARGET = Tier(("t",))
A = Generation("Paris", "stop", 10, 1, latency_s=0.5, first_token_s=0.25)
B = Generation("Rome", "stop", 12, 2, latency_s=1.0)
T = Generation("It is Paris.", "stop", 10, 4, latency_s=2.0)
BROKEN = Failure("error", "It broke.", 10, 0, 0.25)
STOPPED = Failure("cancelled", "Stopped.", 12, 5, 0.5)

Measures = dict[tuple[str, ...], float]


def first_tier(*answers: Answer, accepted: bool, agreement: float | None = 0.75, tier: Tier = MEMBERS) -> TierResult:
    reason = "agreement" if accepted else "disagreement"
    decision = Decision(accepted, reason, agreement, 0.8, 0)
    judged = Agreement((0, 1), (agreement, agreement), agreement, 0)
    scores = Scores(((1.0, 0.75), (0.75, 1.0)), flops=5e6, device_s=0.125)
    calls = tuple(Call(model, answer) for model, answer in zip(tier.models, answers, strict=True))
    return TierResult(tier, calls, decision, judged, scores, elapsed_s=1.25, scoring_s=0.25)


def target(answer: Answer) -> TierResult:
    return TierResult(TARGET, (Call("t", answer),), Decision(True, "last_tier", selected=0), elapsed_s=2.0)


def measured(
    *results: TierResult,
    answer: Answer | None,
    by: str = "t",
    costs: dict[str, ModelCost] = COSTS,
    calls: tuple[Call, ...] = (),
    tiers: tuple[TierResult, ...] = (),
    cached: Cached | None = None,
    **options: Any,
) -> Measures:
    """Return the measures of a request that ended with this answer or was cancelled, by name and labels."""
    nobody: Any = None
    run = Run(Prompt((Message("user", "?"),)), (MEMBERS, TARGET), {}, nobody, **options)
    run.results.extend(results)
    run.calls.extend(calls or (call for result in results for call in result.calls))
    outcome = None if answer is None else Outcome(answer, by, results or tiers, 3.5, cached=cached)
    charges = charge(run, outcome, costs)
    record = decision_record("default", run, outcome, charges)
    measures = [
        ((metric.name.removeprefix("cascade_"), *labels), value)
        for metric, value, labels in request_measures("default", run, outcome, record, charges)
    ]
    assert len(dict(measures)) == len(measures), "every series once"
    return dict(measures)


def test_an_accepted_answer() -> None:
    assert measured(first_tier(A, B, accepted=True), answer=A, by="a") == {
        ("requests_total", "default", "accepted", "a"): 1,
        ("decisions_total", "default", "0", "true", "agreement"): 1,
        ("agreement", "default", "0", "sbert"): 0.75,
        ("model_calls_total", "default", "a", "member", "ok"): 1,
        ("model_calls_total", "default", "b", "member", "ok"): 1,
        ("model_seconds", "a"): 0.5,
        ("model_seconds", "b"): 1.0,
        ("model_first_token_seconds", "a"): 0.25,
        ("tokens_total", "default", "a", "prompt", "returned"): 10,
        ("tokens_total", "default", "a", "completion", "returned"): 1,
        ("tokens_total", "default", "b", "prompt", "unused"): 12,
        ("tokens_total", "default", "b", "completion", "unused"): 2,
        ("flops_total", "default", "a"): 2 * 1e9 * 11,
        ("flops_total", "default", "b"): 2 * 2e9 * 14,
        ("flops_total", "default", "Scorer"): 5e6,
        ("device_seconds_total", "default", "a"): 0.5,
        ("device_seconds_total", "default", "b"): 1.0,
        ("device_seconds_total", "default", "Scorer"): 0.125,
        ("request_seconds", "default", "members"): 1.0,
        ("request_seconds", "default", "scoring"): 0.25,
        ("request_seconds", "default", "whole"): 3.5,
        # The target was never timed, so its device-seconds are not known.
        ("target_only_flops_total", "default"): 2 * 30e9 * 11,
        ("target_only_cost_usd_total", "default"): 10 + 2,
    }


def test_a_deferred_one() -> None:
    measures = measured(first_tier(A, B, accepted=False), target(T), answer=T)
    assert measures["requests_total", "default", "deferred", "t"] == 1
    assert measures["decisions_total", "default", "0", "false", "disagreement"] == 1
    assert not [key for key in measures if key[:3] == ("decisions_total", "default", "1")]
    assert measures["request_seconds", "default", "target"] == 2.0
    assert measures["tokens_total", "default", "a", "completion", "unused"] == 1
    assert measures["tokens_total", "default", "t", "completion", "returned"] == 4
    assert measures["cost_usd_total", "default", "t"] == measures["target_only_cost_usd_total", "default"] == 10 + 8
    assert measures["target_only_device_seconds_total", "default"] == 2.0


def test_failures_are_charged_and_nothing_is_saved_by_them() -> None:
    measures = measured(first_tier(A, STOPPED, accepted=False), target(BROKEN), answer=BROKEN)
    assert measures["requests_total", "default", "failed", ""] == 1
    assert measures["model_calls_total", "default", "b", "member", "cancelled"] == 1
    assert measures["model_calls_total", "default", "t", "target", "error"] == 1
    assert measures["tokens_total", "default", "b", "completion", "cancelled"] == 5
    assert measures["tokens_total", "default", "t", "prompt", "failed"] == 10
    assert ("tokens_total", "default", "t", "completion", "failed") not in measures
    assert not [key for key in measures if key[0].startswith("target_only")]


def test_a_refused_request_is_charged_for_what_had_been_compared() -> None:
    """As its record is: a third member may refuse when two answers have been compared."""
    refusal = Failure("refused", "It cannot see images.")
    calls = (Call("a", A), Call("b", refusal))
    scores = Scores((), flops=5e6, device_s=0.125)
    decision = Decision(False, "refused", threshold=0.8)
    tier = TierResult(MEMBERS, calls, decision, scores=scores, elapsed_s=1.25, scoring_s=0.25)
    measures = measured(tier, answer=refusal, by="b")
    assert measures["flops_total", "default", "Scorer"] == 5e6
    assert measures["device_seconds_total", "default", "Scorer"] == 0.125
    assert {key[2]: value for key, value in measures.items() if key[0] == "request_seconds"} == {
        "members": 1.0,
        "scoring": 0.25,
        "whole": 3.5,
    }
    assert not [key for key in measures if key[0] == "decisions_total"]


def test_the_scoring_of_all_tiers_and_the_look_up_are_one_sum() -> None:
    tiers = first_tier(A, B, accepted=False), first_tier(A, B, accepted=True)
    calls = (Call("a", A), Call("b", B))
    measures = measured(*tiers, answer=A, by="a", calls=calls, precheck=Precheck(None, 25, 0.4, flops=64.0))
    assert measures["flops_total", "default", "Scorer"] == 5e6 + 5e6 + 64
    assert measures["device_seconds_total", "default", "Scorer"] == 0.25


def test_a_cancelled_request() -> None:
    measures = measured(answer=None, calls=(Call("a", A), Call("b", STOPPED)))
    assert measures["requests_total", "default", "cancelled", ""] == 1
    assert measures["tokens_total", "default", "a", "prompt", "unused"] == 10
    assert measures["tokens_total", "default", "b", "prompt", "cancelled"] == 12
    assert not [key for key in measures if key[0] == "request_seconds"]


def test_a_single_model() -> None:
    measures = measured(target(T), answer=T)
    assert measures["requests_total", "default", "accepted", "t"] == 1
    assert [key[2] for key in measures if key[0] == "request_seconds"] == ["target", "whole"]


@pytest.mark.parametrize(("first_text_s", "expected"), [(1.5, 1.5), (None, 3.5)])
def test_what_the_client_of_a_stream_waited_for(first_text_s: float | None, expected: float) -> None:
    measures = measured(first_tier(A, B, accepted=False), target(T), answer=T, stream=True, first_text_s=first_text_s)
    assert measures["request_seconds", "default", "first_text"] == expected


def test_no_saving_is_claimed_where_a_models_size_is_not_known() -> None:
    costs = COSTS | {"b": ModelCost(None, 0)}
    measures = measured(first_tier(A, B, accepted=True), answer=A, by="a", costs=costs)
    assert ("flops_total", "default", "b") not in measures
    assert ("target_only_flops_total", "default") not in measures
    assert measures["target_only_cost_usd_total", "default"] == 12
    measures = measured(first_tier(A, B, accepted=True), answer=A, by="a", costs=COSTS | {"b": ModelCost(2e9)})
    assert ("target_only_cost_usd_total", "default") not in measures


def test_a_cached_answer_counts_as_a_request_and_as_nothing_else() -> None:
    results = (first_tier(A, B, accepted=False), target(T))
    uncached = measured(*results, answer=T)
    assert measured(answer=T, tiers=results, cached=Cached(12.0), stream=True) == {
        ("requests_total", "default", "deferred", "t"): 1,
        ("request_seconds", "default", "whole"): 3.5,
        ("request_seconds", "default", "first_text"): 3.5,
        **{key: value for key, value in uncached.items() if key[0].startswith("target_only")},
    }


@pytest.mark.parametrize(
    ("precheck", "result"),
    [
        (Precheck("deferred", 25, 1.0, flops=64.0), "deferred"),
        (Precheck(None, 25, 0.4, flops=64.0), "neither"),
        (Precheck(None, flops=64.0, failed=True), "failed"),
    ],
)
def test_a_look_up_of_past_requests(precheck: Precheck, result: str) -> None:
    measures = measured(target(T), answer=T, precheck=precheck)
    assert measures["prechecks_total", "default", result] == 1
    assert measures["flops_total", "default", "Scorer"] == 64
    assert not [key for key in measured(target(T), answer=T) if key[0] == "prechecks_total"]


@pytest.mark.parametrize(
    ("agreement", "token_level", "shown"),
    [(-0.5, False, 0.0), (0.0, True, 1.0), (-1.0, True, 0.36787944117144233), (1e9, True, 2.6881171418161356e43)],
)
def test_agreement_as_a_histogram_takes_it(agreement: float, token_level: bool, shown: float) -> None:
    tier = Tier(("a", "b"), "sbert", confidence=(lambda model, answer: 0.0) if token_level else None)
    measures = measured(first_tier(A, B, accepted=True, agreement=agreement, tier=tier), answer=A, by="a")
    assert measures["agreement", "default", "0", "sbert"] == shown


@pytest.mark.parametrize("agreement", [None, float("-inf"), float("nan")])
def test_no_agreement(agreement: float | None) -> None:
    measures = measured(first_tier(A, B, accepted=True, agreement=agreement), answer=A, by="a")
    assert not [key for key in measures if key[0] == "agreement"]
