"""Views of a request: what of the answers is compared instead."""

import pytest
from pydantic import ValidationError

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.core.record_json import from_json, to_json
from serve_app.core.types.answer import Generation
from serve_app.core.views.view import JsonField, View
from serve_app.errors import RequestError
from tests.deployments.replies import PARIS, closed, opened, routed

MARKED = Generation("Answer: **PARIS**", "stop", 10, 2, latency_s=1.0)
VIEW = {"strip": ["markdown"], "take": {"after": "answer:"}, "normalise": ["case"]}


async def test_a_request_chooses_what_is_compared_and_gets_the_whole_answer() -> None:
    assert (await closed(routed(MARKED))).deferred
    record = await closed(routed(MARKED), compare=VIEW, include_answers=True)
    assert record.answered_by == "a"
    [tier] = record.tiers
    assert tier.answers is not None
    assert [(answer.text, answer.compared) for answer in tier.answers if answer] == [
        (PARIS.text, "paris"),
        (MARKED.text, "paris"),
    ]
    assert to_json(record)["tiers"][0]["compared"] == ["paris", "paris"]  # type: ignore[index]
    assert from_json(to_json(record)) == record


async def test_what_was_compared_is_shown_with_the_answers_only() -> None:
    [tier] = (await closed(routed(MARKED), compare=VIEW)).tiers
    assert tier.answers is None
    [tier, _] = (await closed(routed(MARKED), include_answers=True)).tiers
    assert tier.answers is not None
    assert {answer.compared for answer in tier.answers if answer} == {None}


def test_a_view_replaces_that_of_every_tier_beside_other_options() -> None:
    run = opened(routed(), "three", compare={"take": {"json": "a"}}, threshold=0.9, signal="chrf").run
    assert [tier.compare for tier in run.tiers] == [View(take=(JsonField("a"),))] * 2 + [None]
    assert [(tier.threshold, tier.signal) for tier in run.tiers[:-1]] == [(0.9, "chrf")] * 2


def test_a_single_model_has_nothing_to_compare() -> None:
    with pytest.raises(RequestError, match="'a' is a single model"):
        opened(routed(), "a", compare={})


@pytest.mark.parametrize(
    ("compare", "sentence"),
    [
        ({"take": {"regex": "(a+)+b"}}, "Available: boxed, choice, last_number, {after: ...}, {json: ...}"),
        ({"take": {"json": "a" * 257}}, "at most 256 characters"),
        ({"take": ["boxed"] * 9}, "at most 8 items"),
    ],
)
def test_a_request_may_not_write_what_could_take_long(compare: object, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        CascadeOptions.model_validate({"compare": compare})
