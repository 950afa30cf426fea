import json
from math import inf, nan
from typing import Any

import pytest

from serve_app.core.charges import charge
from serve_app.core.cost import ModelCost, Speed
from serve_app.core.record import DecisionRecord, Usage, decision_record, reported_calls, usage
from serve_app.core.record_json import from_json, to_json
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.core.types.outcome import Cached, Call, Outcome, TierResult
from serve_app.core.types.policy import Agreement, Decision, Tier
from serve_app.core.types.prompt import Message, Prompt
from serve_app.core.types.scores import Scores

SMALL, TINY, LARGE = "qwen-0.5b", "smollm2-135m", "qwen-1.5b"
COSTS = {
    SMALL: ModelCost(494e6, 0, 0),
    TINY: ModelCost(135e6, 0, 0),
    LARGE: ModelCost(1.54e9, input_usd=1, output_usd=2),
}
MEMBERS = Tier((SMALL, TINY), signal="sbert", threshold=0.8)
TARGET = Tier((LARGE,))
PARIS = Generation("Paris", "stop", 41, 8, latency_s=0.31, first_token_s=0.1)
ROME = Generation("Rome", "length", 45, 2, latency_s=0.2)
LONG = Generation("It is Paris.", "stop", 41, 10, latency_s=1.1)
LOST = Failure("timeout", "No answer within 2 s.", 45, 3, 2.0, estimated=True)


class Nobody:
    async def score(self, signal: str, texts: Any, since: int = 0) -> Scores:
        raise AssertionError


def members(a: Answer, b: Answer, similarity: float | None, *, accepted: bool = False) -> TierResult:
    """Return the result of the first tier, without a similarity if nothing was scored."""
    calls = (Call(SMALL, a), Call(TINY, b))
    alive = tuple(i for i, call in enumerate(calls) if isinstance(call.answer, Generation))
    output = tuple(similarity if i in alive else None for i in range(2))
    scores = None if similarity is None else Scores(((1.0, similarity), (similarity, 1.0)), flops=5e6, device_s=0.02)
    reason = "agreement" if accepted else "disagreement" if similarity is not None else "too_few_answers"
    decision = Decision(accepted, reason, similarity, 0.8, alive[0] if alive else None)
    judged = Agreement(alive, output, similarity, decision.selected)
    return TierResult(MEMBERS, calls, decision, judged, scores, elapsed_s=0.52, scoring_s=0.02)


def target(answer: Answer) -> TierResult:
    return TierResult(TARGET, (Call(LARGE, answer),), Decision(True, "last_tier", selected=0), elapsed_s=1.1)


def run_of(*results: TierResult) -> Run:
    run = Run(Prompt((Message("user", "Capital of France?"),)), (MEMBERS, TARGET), {}, Nobody())
    run.results.extend(results)
    run.calls.extend(call for result in results for call in result.calls)
    return run


def ended(run: Run, answer: Answer, by: str, replaced: Failure | None = None) -> Outcome:
    return Outcome(answer, by, tuple(run.results), 1.66, replaced)


def record_of(run: Run, outcome: Outcome | None, **options: Any) -> Any:
    """Return the record as JSON, after round trips through strict JSON that must not change it."""
    record = decided(run, outcome, COSTS, **options)
    body = to_json(record)
    assert json.loads(json.dumps(body, allow_nan=False)) == body
    assert from_json(body) == record
    return body


def decided(run: Run, outcome: Outcome | None, costs: dict[str, ModelCost], **options: Any) -> DecisionRecord:
    return decision_record("default", run, outcome, charge(run, outcome, costs), **options)


DEFERRED = {
    "id": "default",
    "deferred": True,
    "answered_by": LARGE,
    "reason": "disagreement",
    "tiers": [
        {
            "models": [SMALL, TINY],
            "signal": "sbert",
            "policy": {
                "agreement": "max",
                "direction": "both",
                "select": None,
                "min_answers": 2,
                "truncated": "keep",
            },
            "similarities": [[1, 0.41], [0.41, 1]],
            "output_scores": [0.41, 0.41],
            "agreement": 0.41,
            "threshold": 0.8,
            "accepted": False,
            "reason": "disagreement",
            "selected": SMALL,
        },
        {"models": [LARGE]},
    ],
    "models": {
        SMALL: {
            "status": "ok",
            "finish_reason": "stop",
            "prompt_tokens": 41,
            "completion_tokens": 8,
            "latency_s": 0.31,
            "first_token_s": 0.1,
        },
        TINY: {
            "status": "ok",
            "finish_reason": "length",
            "prompt_tokens": 45,
            "completion_tokens": 2,
            "latency_s": 0.2,
            "first_token_s": None,
        },
        LARGE: {
            "status": "ok",
            "finish_reason": "stop",
            "prompt_tokens": 41,
            "completion_tokens": 10,
            "latency_s": 1.1,
            "first_token_s": None,
        },
    },
    "cost": {
        "flops": pytest.approx(2 * (494e6 * 49 + 135e6 * 47 + 1.54e9 * 51) + 5e6),
        "usd": pytest.approx((41 * 1 + 10 * 2) / 1e6),
        "device_s": pytest.approx(0.31 + 0.2 + 1.1 + 0.02),
        "target_only": {
            "flops": pytest.approx(2 * 1.54e9 * 51),
            "usd": pytest.approx((41 * 1 + 10 * 2) / 1e6),
            "device_s": 1.1,
            "estimated": False,
        },
    },
    "timings_s": {"tiers": [0.52, 1.1], "scoring": 0.02, "total": 1.66},
}


def test_a_deferred_request():
    run = run_of(members(PARIS, ROME, 0.41), target(LONG))
    assert record_of(run, ended(run, LONG, LARGE)) == DEFERRED


def test_the_example_of_the_design_has_no_other_keys():
    """Every key of the example in design.md, in its order, and those that were added since."""
    assert list(DEFERRED) == ["id", "deferred", "answered_by", "reason", "tiers", "models", "cost", "timings_s"]
    tier = DEFERRED["tiers"][0]
    assert [key for key in tier if key not in ("policy", "reason")] == [
        "models",
        "signal",
        "similarities",
        "output_scores",
        "agreement",
        "threshold",
        "accepted",
        "selected",
    ]


def test_an_accepted_request_estimates_the_target():
    run = run_of(members(PARIS, ROME, 0.9, accepted=True))
    record = record_of(run, ended(run, PARIS, SMALL))
    assert (record["deferred"], record["answered_by"], record["reason"]) == (False, SMALL, "agreement")
    assert record["tiers"][0]["accepted"] is True
    alone = record["cost"]["target_only"]
    assert alone == {
        "flops": pytest.approx(2 * 1.54e9 * 49),
        "usd": pytest.approx(57 / 1e6),
        "device_s": None,  # the target was never seen at work
        "estimated": True,
    }
    run.speeds = {LARGE: Speed()}
    run.speeds[LARGE].observe(LONG)
    assert record_of(run, ended(run, PARIS, SMALL))["cost"]["target_only"]["device_s"] == pytest.approx(0.11 * 8)


def test_texts_come_only_when_asked_for():
    run = run_of(members(PARIS, LOST, None), target(LONG))
    plain = record_of(run, ended(run, LONG, LARGE))
    assert "Paris" not in json.dumps(plain)
    with_answers = record_of(run, ended(run, LONG, LARGE), answers=True)
    assert [tier.pop("answers") for tier in with_answers["tiers"]] == [["Paris", None], ["It is Paris."]]
    assert with_answers == plain


def test_a_failed_member():
    run = run_of(members(PARIS, LOST, None), target(LONG))
    record = record_of(run, ended(run, LONG, LARGE))
    assert record["reason"] == "too_few_answers"
    tier = record["tiers"][0]
    assert (tier["similarities"], tier["output_scores"], tier["agreement"]) == (None, [None, None], None)
    assert record["models"][TINY] == {
        "status": "timeout",
        "message": "No answer within 2 s.",
        "prompt_tokens": 45,
        "completion_tokens": 3,
        "latency_s": 2.0,
        "estimated": True,
    }
    assert record["cost"]["estimated"] is True


def test_a_matrix_has_a_row_for_every_member():
    trio = Tier(("a", "b", "c"), signal="exact", threshold=0.5)
    calls = (Call("a", PARIS), Call("b", Failure("error", "Broken.")), Call("c", ROME))
    judged = Agreement((0, 2), (0.25, None, 0.25), 0.25, 0)
    decision = Decision(False, "disagreement", 0.25, 0.5, 0)
    result = TierResult(trio, calls, decision, judged, Scores(((1.0, 0.125), (0.375, 1.0))))
    run = run_of(result)
    record: Any = to_json(decided(run, None, dict.fromkeys(("a", "b", "c"), ModelCost(1e9))))
    tier = record["tiers"][0]
    assert tier["similarities"] == [[1, None, 0.125], [None, None, None], [0.375, None, 1]]
    assert tier["output_scores"] == [0.25, None, 0.25]
    assert "estimated" not in record["models"]["b"]


@pytest.mark.parametrize("number", [nan, inf, -inf])
def test_what_json_cannot_say_is_null(number: float):
    run = run_of(members(PARIS, ROME, number), target(LONG))
    tier = record_of(run, ended(run, LONG, LARGE))["tiers"][0]
    assert tier["similarities"] == [[1, None], [None, 1]]
    assert (tier["output_scores"], tier["agreement"]) == ([None, None], None)


def test_an_unknown_size_is_null_and_not_a_saving():
    run = run_of(members(PARIS, ROME, 0.41), target(LONG))
    record: Any = to_json(decided(run, ended(run, LONG, LARGE), COSTS | {TINY: ModelCost()}))
    assert record["cost"]["flops"] is None
    assert record["cost"]["target_only"]["flops"] == pytest.approx(2 * 1.54e9 * 51)


def test_a_model_without_a_price_makes_the_dollars_null_and_not_0():
    run = run_of(members(PARIS, ROME, 0.41), target(LONG))
    record: Any = to_json(decided(run, ended(run, LONG, LARGE), COSTS | {TINY: ModelCost(135e6)}))
    assert record["cost"]["usd"] is None
    assert record["cost"]["target_only"]["usd"] == pytest.approx(6.1e-5)


def test_a_scorer_that_failed():
    result = members(PARIS, ROME, None)
    broken = TierResult(result.tier, result.calls, result.decision, result.judged, scorer_error="No such signal.")
    run = run_of(broken, target(LONG))
    assert record_of(run, ended(run, LONG, LARGE))["tiers"][0]["scorer_error"] == "No such signal."


def test_a_failed_target():
    gone = Failure("unavailable", "No replica.")
    run = run_of(members(PARIS, ROME, 0.41), target(gone))
    record = record_of(run, ended(run, gone, LARGE))
    assert (record["deferred"], record["answered_by"], record["reason"]) == (True, None, "disagreement")
    assert record["models"][LARGE]["status"] == "unavailable"
    assert "target_only" not in record["cost"]
    assert "estimated" not in record["cost"]


def test_a_member_that_stands_in_for_the_target():
    gone = Failure("unavailable", "No replica.")
    run = run_of(members(PARIS, ROME, 0.41), target(gone))
    record = record_of(run, ended(run, PARIS, SMALL, replaced=gone))
    assert record["answered_by"] == SMALL
    assert record["replaced"] == {"model": LARGE, "kind": "unavailable", "message": "No replica."}
    assert record["cost"]["target_only"]["estimated"] is True


@pytest.mark.parametrize(
    ("cached", "body"),
    [(Cached(12.5), {"age_s": 12.5}), (Cached(0.0, shared=True), {"age_s": 0.0, "shared": True})],
)
def test_a_cached_answer_cost_nothing(cached: Cached, body: dict[str, Any]):
    results = (members(PARIS, ROME, 0.41), target(LONG))
    run = run_of()
    outcome = Outcome(LONG, LARGE, results, 0.001, cached=cached)
    record = record_of(run, outcome)
    uncached = record_of(run_of(*results), ended(run_of(*results), LONG, LARGE))
    assert record["cached"] == body
    assert {name: record[name] for name in ("tiers", "deferred", "answered_by", "reason")} == {
        name: uncached[name] for name in ("tiers", "deferred", "answered_by", "reason")
    }
    assert (record["models"], record["timings_s"]) == ({}, {"tiers": [], "scoring": 0, "total": 0.001})
    spent = {"flops": 0, "usd": 0, "device_s": 0}
    assert record["cost"] == spent | {"target_only": uncached["cost"]["target_only"]}
    assert usage(reported_calls(run, outcome)) == Usage(41, 10)


def test_a_tier_that_was_decided_early_has_the_bounds_of_its_agreement():
    tier = Tier((SMALL, TINY, LARGE), signal="sbert", threshold=0.8)
    calls = (Call(SMALL, PARIS), Call(TINY, ROME), Call(LARGE, Failure("cancelled", "Stopped.", 41, 3)))
    decision = Decision(False, "disagreement", None, 0.8, None)
    judged = Agreement((0, 1), (None, None, None), None, None)
    scores = Scores(((1.0, 0.25), (0.25, 1.0)))
    result = TierResult(tier, calls, decision, judged, scores, bounds=(-inf, 0.79))
    run = run_of(result, target(LONG))
    [record, _] = record_of(run, ended(run, LONG, LARGE))["tiers"]
    assert record["agreement_bounds"] == [None, 0.79]
    assert (record["agreement"], record["output_scores"], record["selected"]) == (None, [None, None, None], None)
    assert record["similarities"] == [[1, 0.25, None], [0.25, 1, None], [None, None, None]]


def test_a_cancelled_request():
    run = run_of()
    run.calls.append(Call(SMALL, Failure("cancelled", "Stopped: the request was cancelled.", 12, 3, 0.4)))
    record = record_of(run, None)
    assert (record["deferred"], record["answered_by"], record["reason"]) == (None, None, "cancelled")
    assert (record["tiers"], record["timings_s"]) == ([], {"tiers": [], "scoring": 0, "total": None})
    assert record["models"][SMALL]["status"] == "cancelled"
    assert record["cost"] == {"flops": pytest.approx(2 * 494e6 * 15), "usd": 0, "device_s": 0.4}


def test_usage_is_the_sum_over_all_models():
    assert usage([]) == Usage(0, 0)
    tokens = usage([Call(SMALL, PARIS), Call(TINY, LOST), Call(LARGE, LONG)])
    assert tokens == Usage(127, 21)
    assert tokens.total_tokens == 148
