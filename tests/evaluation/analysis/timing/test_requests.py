"""Seconds, costs and waste of recorded examples as requests, worked by hand.

Every answer has 10 prompt and 10 completion tokens. a takes 1 s, b 2 s, c 5 s and the target 4 s, so the target writes
a token in .4 s. FLOPs are 2 a parameter and token: a call of a, b or c (of one parameter) takes 40, one of the target
(of ten) 400.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve_app.core.cost import Cost
from serve_app.core.speculation import SpeculationPolicy
from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.timing.requests import ServedCascade, TimedRequest, TimedRequests
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import questions, write_records

SECONDS = {"a": 1.0, "b": 2.0, "c": 5.0, "large": 4.0}
ALL_DIFFER, AGREED, TWO_AGREE = "xyz", "xxx", "xxz"
"""Answers of a, b and c; those of the target are always t."""
NOTHING = Cost(0.0, 0.0, 0.0)


def answer(model: str, text: str) -> Generation:
    return Generation(text, "stop", 10, 10, latency_s=SECONDS[model])


def dataset(folder: Path, texts: Sequence[str], tiers: Sequence[str], **failures: Failure) -> Dataset:
    """Load answers that take no time to compare, one example each. `failures`: a model's answer to the last."""
    sizes = {"a": 1.0, "b": 1.0, "c": 1.0, "large": 10.0}
    members: list[dict[str, Any]] = [{"models": list(tier), "signal": "exact", "threshold": 0.4} for tier in tiers]
    values = {
        "models": {
            name: {"engine": "replay", "default": "x", "parameters": size, "output_usd": 1e6, "input_usd": 0}
            for name, size in sizes.items()
        },
        "cascades": {"default": {"tiers": [*members, {"models": ["large"]}]}},
    }
    examples = questions(len(texts))
    columns: dict[str, list[Answer]] = {
        model: [answer(model, row[number]) for row in texts] for number, model in enumerate("abc")
    }
    columns["large"] = [answer("large", "t") for _ in texts]
    for model, failure in failures.items():
        columns[model][-1] = failure
    path = write_records(folder / "records.jsonl", values, examples, columns)
    loaded = load_dataset(Records.load(path), Options(signals=("exact",), resamples=10, processes=1))
    free = replace(loaded.replay.similarities[None]["exact"], device_s=0.0)
    loaded.replay.similarities[None]["exact"] = free
    return loaded


def served(data: Dataset, policy: SpeculationPolicy | None = None) -> ServedCascade:
    return ServedCascade(data.config.tiers("default", data.config.thresholds()["default"]), policy)


def last(data: Dataset, cascade: ServedCascade) -> TimedRequest:
    """Return the timing of the last example, after the other ones."""
    index = range(len(data))
    [request] = TimedRequests(data, cascade).run(index[-1:], index[:-1])
    return request


def test_a_plain_cascade_takes_its_slowest_member_and_then_the_target(tmp_path: Path) -> None:
    data = dataset(tmp_path, [AGREED, ALL_DIFFER], ["ab"])
    accepted, deferred = TimedRequests(data, served(data)).run([0, 1])
    assert accepted.seconds == pytest.approx(2)
    assert accepted.cost == Cost(80, pytest.approx(20), pytest.approx(3))
    assert (accepted.model, accepted.to_target) == ("a", False)
    assert deferred.seconds == pytest.approx(6)
    assert deferred.first_tier_s == pytest.approx(2)
    assert deferred.cost == Cost(480, pytest.approx(30), pytest.approx(7))
    assert (deferred.model, deferred.to_target) == ("large", True)
    assert (accepted.wasted, deferred.wasted) == (NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("policy", "deferred_s", "tokens", "wasted_s"),
    [
        (SpeculationPolicy("always"), 4, 5, 2),  # stopped after 2 s: 5 tokens of .4 s
        (SpeculationPolicy(after_s=1), 5, 3, 1),  # after 1 s: 2.5 tokens
        (SpeculationPolicy(after_s=3), 6, 0, 0),  # decided before
    ],
)
def test_what_is_asked_ahead_saves_its_head_start_or_is_waste(
    tmp_path: Path, policy: SpeculationPolicy, deferred_s: float, tokens: int, wasted_s: float
) -> None:
    data = dataset(tmp_path, [ALL_DIFFER, ALL_DIFFER, AGREED], ["ab"])
    deferred, accepted = TimedRequests(data, served(data, policy)).run([1, 2], [0])
    assert deferred.seconds == pytest.approx(deferred_s)
    assert (deferred.cost.flops, deferred.wasted) == (480, NOTHING)
    assert accepted.seconds == pytest.approx(2)
    assert accepted.wasted_target_tokens == tokens
    flops = 20 * (10 + tokens) if tokens else 0
    assert accepted.wasted == Cost(flops, pytest.approx(tokens), pytest.approx(wasted_s))
    assert accepted.cost.flops == 80 + flops


def test_adaptive_weighs_what_the_requests_before_came_to(tmp_path: Path) -> None:
    """At p deferred T = 2 s are worth 2p dollars, and 5 tokens for nothing cost 5 (1 - p): it pays above p = 5/7."""
    policy = SpeculationPolicy("adaptive", second_usd=1.0)
    often = dataset(tmp_path, [ALL_DIFFER] * 15 + [AGREED] * 5 + [ALL_DIFFER], ["ab"])
    assert last(often, served(often, policy)).seconds == pytest.approx(4)
    (tmp_path / "records.jsonl").unlink()
    seldom = dataset(tmp_path, [ALL_DIFFER] * 14 + [AGREED] * 6 + [ALL_DIFFER], ["ab"])
    assert last(seldom, served(seldom, policy)).seconds == pytest.approx(6)


def test_an_early_decision_saves_the_slowest_member(tmp_path: Path) -> None:
    """c is stopped after 2 s, in which it writes 4 tokens of .5 s."""
    data = dataset(tmp_path, [AGREED, ALL_DIFFER, TWO_AGREE], ["abc"])
    early = served(data)
    off = replace(early, tiers=tuple(replace(tier, early="off") for tier in early.tiers))
    slow, fast = last(data, off), last(data, early)
    assert (slow.seconds, slow.cost.flops) == (pytest.approx(5), 120)
    assert (fast.seconds, fast.cost.flops) == (pytest.approx(2), 40 + 40 + 2 * (10 + 4))
    assert (slow.model, fast.model) == ("a", "a")


def test_a_quorum_decides_on_what_has_arrived(tmp_path: Path) -> None:
    """Of x, y and x the first two differ; all three would agree at (1 + 0) / 2."""
    data = dataset(tmp_path, ["xyx"], ["abc"])
    plain = served(data)
    hasty = replace(plain, tiers=(replace(plain.tiers[0], quorum=2), plain.tiers[1]))
    assert (last(data, plain).seconds, last(data, plain).model) == (pytest.approx(5), "a")
    assert (last(data, hasty).seconds, last(data, hasty).model) == (pytest.approx(2 + 4), "large")


def test_answers_that_are_not_carried_are_paid_for_and_waited_for_again(tmp_path: Path) -> None:
    data = dataset(tmp_path, ["xyx"], ["ab", "abc"])
    plain = served(data)
    again = plain.without_carrying()
    assert [tier.models for tier in again.tiers] == [("a", "b"), ("a@", "b@", "c@"), ("large@@",)]
    carried, anew = last(data, plain), last(data, again)
    assert (carried.seconds, carried.cost.flops) == (pytest.approx(2 + 5), 120)
    assert (anew.seconds, anew.cost.flops) == (pytest.approx(2 + 5), 200)
    assert (carried.model, anew.model) == ("a", "a")


def test_a_failed_target_is_no_answer_or_the_best_members(tmp_path: Path) -> None:
    data = dataset(tmp_path, [ALL_DIFFER], ["ab"], large=Failure("error", "It broke.", 10, 0, 3.0))
    assert last(data, served(data)).model is None
    replaced = last(data, replace(served(data), fallback=True))
    assert (replaced.model, replaced.seconds) == ("a", pytest.approx(2 + 3))


def test_a_model_that_took_longer_than_it_may_fails(tmp_path: Path) -> None:
    data = dataset(tmp_path, [AGREED], ["ab"])
    plain = served(data)
    hasty = replace(plain, tiers=(replace(plain.tiers[0], timeout_s=1.5), plain.tiers[1]))
    assert last(data, hasty).to_target
    assert last(data, hasty).seconds == pytest.approx(1.5 + 4)
