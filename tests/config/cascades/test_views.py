from typing import Any

import pytest

from serve_app.config import AppConfig, ViewConfig
from serve_app.core.views.view import After, Chain, JsonField, Match, View
from tests.config.values import cascade, problems

MEMBERS = {"models": ["a", "b"], "signal": "exact", "threshold": 0.5}
TARGET = {"models": ["t"]}
SURE = {"kind": "chow_avg", "zscores": {name: {"mean": 0, "std": 1} for name in "ab"}}


@pytest.mark.parametrize(
    ("written", "view"),
    [
        ({}, View()),
        ({"take": "boxed"}, View(take=("boxed",))),
        ({"take": ["choice", {"json": "a.b"}]}, View(take=("choice", JsonField("a.b")))),
        ({"take": {"json": "a", "then": "boxed"}}, View(take=(Chain(JsonField("a"), "boxed"),))),
        ({"take": {"after": "Answer:"}}, View(take=(After("Answer:"),))),
        ({"take": {"regex": r"(\d)"}}, View(take=(Match(r"(\d)"),))),
        (
            {"strip": ["markdown"], "normalise": ["numbers", "case"], "otherwise": "empty"},
            View(("markdown",), (), ("numbers", "case"), "empty"),
        ),
    ],
)
def test_a_view_is_built_as_it_is_written(written: dict[str, Any], view: View) -> None:
    assert ViewConfig.model_validate(written).view() == view


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (
            {"take": "last_numer"},
            "take: cannot be 'last_numer'. Did you mean 'last_number'? "
            "Available: boxed, choice, last_number, {after: ...}, {json: ...}, {regex: ...}.",
        ),
        (
            {"take": {"json": "a", "then": "box"}},
            "take: then: cannot be 'box'. Did you mean 'boxed'? Available: boxed, choice, last_number.",
        ),
        ({"take": {"json": ""}}, "take: json: needs a text that is not empty."),
        (
            {"take": {"regex": "(a"}},
            "take: regex: '(a' is not a regular expression: missing ), unterminated subpattern at position 0.",
        ),
        (
            {"take": {"json": "a", "after": "b"}},
            "take: cannot be 'json'. Available: boxed, choice, last_number, {after: ...}, {json: ...}, {regex: ...}.",
        ),
        ({"strip": ["html"]}, "strip[0]: must be 'code_fences' or 'markdown', got 'html'."),
        ({"otherwise": "none"}, "otherwise: must be 'whole' or 'empty', got 'none'."),
    ],
)
def test_a_view_that_cannot_be_built_is_refused(written: dict[str, Any], sentence: str) -> None:
    assert problems(ViewConfig, written) == [sentence]


def test_a_tier_gets_its_view() -> None:
    config = AppConfig.model_validate(cascade(MEMBERS | {"compare": {"take": "boxed"}}, TARGET))
    members, target = config.tiers("default", [0.5])
    assert members.compare == View(take=("boxed",))
    assert target.compare is None


def test_a_view_where_nothing_is_compared_is_refused() -> None:
    tier = MEMBERS | {"signal": "sure", "compare": {"take": "boxed"}}
    sentence = "cascades.default.tiers[0].compare: has no effect: 'sure' scores each answer by itself."
    assert problems(AppConfig, cascade(tier, TARGET) | {"signals": {"sure": SURE}}) == [sentence]
    [last] = problems(AppConfig, cascade(MEMBERS, TARGET | {"compare": {}}))
    assert "These have no effect there: compare." in last
