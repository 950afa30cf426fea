"""Records as JSON and back; what the JSON of a request looks like is in test_record.py."""

import json
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.charges import RequestCost
from serve_app.core.cost import Cost, EstimatedCost
from serve_app.core.record import (
    AnswerRecord,
    CallRecord,
    DecisionRecord,
    FunctionCall,
    Policy,
    Replacement,
    TierDecision,
    TierRecord,
    Timings,
)
from serve_app.core.record_json import from_json, to_json
from serve_app.core.types.outcome import Cached, Precheck

texts = st.text(max_size=8)
names = st.text(min_size=1, max_size=8)
counts = st.integers(0, 10**9)
numbers = st.floats(allow_nan=False, allow_infinity=False)
maybe = st.one_of(st.none(), numbers)
units = (maybe, maybe, maybe)
policies = st.builds(Policy, texts, texts, st.none() | texts, counts, texts)
answers = st.builds(AnswerRecord, texts, st.lists(st.builds(FunctionCall, texts, texts), max_size=2).map(tuple), texts)


@st.composite
def tiers(draw: st.DrawFn) -> TierRecord:
    """Draw a tier of one to three models, with a decision or without."""
    models = tuple(draw(st.lists(names, min_size=1, max_size=3, unique=True)))
    row = st.tuples(*[maybe] * len(models))
    decisions = st.builds(
        TierDecision,
        signal=st.none() | texts,
        policy=st.none() | policies,
        similarities=st.none() | st.tuples(*[row] * len(models)),
        output_scores=row,
        agreement=maybe,
        threshold=maybe,
        accepted=st.booleans(),
        reason=texts,
        selected=st.none() | texts,
        agreement_bounds=st.none() | st.tuples(maybe, maybe),
    )
    given_answers = draw(st.none() | st.tuples(*[st.none() | answers] * len(models)))
    carried = models[: draw(st.integers(0, len(models)))]
    return TierRecord(
        models, draw(st.none() | decisions), draw(counts), draw(st.none() | names), carried, given_answers
    )


calls = st.one_of(
    st.builds(CallRecord, st.just("ok"), counts, counts, numbers, st.booleans(), st.none() | texts, maybe),
    st.builds(CallRecord, names.filter("ok".__ne__), counts, counts, numbers, st.booleans(), message=st.none() | texts),
)
records = st.builds(
    DecisionRecord,
    id=texts,
    deferred=st.none() | st.booleans(),
    answered_by=st.none() | texts,
    reason=texts,
    tiers=st.lists(tiers(), max_size=3).map(tuple),
    models=st.dictionaries(names, calls, max_size=3),
    cost=st.builds(
        RequestCost,
        *units,
        st.booleans(),
        st.none() | st.builds(EstimatedCost, *units, st.booleans()),
        st.none() | st.builds(Cost, *units),
    ),
    timings=st.builds(Timings, st.lists(numbers, max_size=3).map(tuple), numbers, maybe),
    calibration=st.none() | texts,
    replaced=st.none() | st.builds(Replacement, texts, texts, texts),
    cached=st.none() | st.builds(Cached, numbers, st.booleans()),
    caller=st.none() | texts,
    skipped=st.none()
    | st.builds(Precheck, st.sampled_from(["deferred", "accepted"]), counts, maybe, st.none() | names),
)


@given(records)
def test_a_record_survives_the_way_to_a_client(record: DecisionRecord) -> None:
    assert from_json(json.loads(json.dumps(to_json(record), allow_nan=False))) == record


@given(records)
def test_the_log_has_no_answers(record: DecisionRecord) -> None:
    tiers: Any = to_json(record.without_answers())["tiers"]
    assert not [tier for tier in tiers if {"answers", "tool_calls"} & set(tier)]


@st.composite
def damaged(draw: st.DrawFn) -> object:
    """Draw a record's JSON in which fields are missing or have values of any other kind."""
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=5,
    )

    def damage(value: Any) -> Any:
        if draw(st.integers(0, 9)) == 0:
            return draw(junk)
        if isinstance(value, dict):
            return {name: damage(inner) for name, inner in value.items() if draw(st.integers(0, 9))}
        return [damage(inner) for inner in value] if isinstance(value, list) else value

    return damage(to_json(draw(records)))


@given(damaged())
def test_whatever_is_missing_or_malformed_is_read_as_nothing(body: object) -> None:
    assert isinstance(from_json(body), DecisionRecord)


@pytest.mark.parametrize("body", [None, [], "record", {}, {"tiers": None, "models": 5, "cost": [], "timings_s": nan}])
def test_an_absent_record_says_nothing(body: object) -> None:
    empty = DecisionRecord("", None, None, "", (), {}, RequestCost(None, None, None), Timings())
    assert from_json(body) == empty


def test_true_is_not_a_number() -> None:
    body = {"timings_s": {"total": True}, "models": {"a": {"prompt_tokens": True, "latency_s": inf}}}
    record = from_json(body)
    assert (record.timings.total, record.models["a"].prompt_tokens) == (None, 0)
