"""Rules of tiers and of cascades."""

import math
from typing import Any

import pytest
import yaml

from serve_app.config import (
    AppConfig,
    CascadeConfig,
    TierConfig,
)
from tests.config.values import ALONE, MEMBERS, TARGET, cascade, problems


def test_a_quorum_asks_for_more_than_is_there() -> None:
    tiers = [MEMBERS, {"models": ["a", "b", "c"], "signal": "exact", "threshold": 0.5, "quorum": 2}, TARGET]
    [fault] = problems(CascadeConfig, {"tiers": tiers})
    assert "tiers[1].quorum: must be more than 2, the answers that earlier tiers have" in fault


def test_an_unquoted_off_is_one() -> None:
    assert CascadeConfig.model_validate({"tiers": [MEMBERS, TARGET], "cache": False}).cache is None
    assert TierConfig.model_validate(yaml.safe_load("{models: [a, b], early: off}")).early == "off"


TIER_RULES: list[tuple[dict[str, Any], str]] = [
    ({"models": []}, "models: needs at least 1 entry, got 0."),
    ({"models": ["a", "a"]}, "models: the same model is listed twice."),
    ({"models": ["a", "b"], "select": "c"}, "select: 'c' is not one of this tier's models (a, b)."),
    (
        {"models": ["a", "b"], "min_answers": 3},
        "min_answers: must be at most 2, as many as the tier has models, got 3.",
    ),
    (
        {"models": ["a", "b"], "quorum": 3},
        "quorum: must be from 2 (min_answers) to 2 (models), got 3.",
    ),
    (
        {"models": ["a", "b"], "quorum": 1},
        "quorum: must be from 2 (min_answers) to 2 (models), got 1.",
    ),
    ({"models": ["a"], "min_answers": 0}, "min_answers: must be greater than 0, got 0."),
    ({"models": ["a"], "threshold": math.nan}, "threshold: must be a finite number, got nan."),
    ({"models": ["a"], "threshold": math.inf}, "threshold: must be a finite number, got inf."),
    ({"models": ["a"], "threshold": "high"}, "threshold: must be a valid number, got 'high'."),
    ({"models": ["a"], "threshold": True}, "threshold: must be a number, got true."),
    ({"models": ["a"], "agreement": "median"}, "agreement: must be 'max' or 'mean', got 'median'."),
    ({"models": ["a"], "early": "yes"}, "early: must be 'off', 'decision' or 'selection', got 'yes'."),
    ({"models": ["a"], "timeout_s": 0}, "timeout_s: must be greater than 0, got 0."),
    ({"models": "a"}, "models: must be a list, got 'a'."),
    ({}, "models: required, but missing."),
]


@pytest.mark.parametrize(("values", "sentence"), TIER_RULES)
def test_tier_rules(values: dict[str, Any], sentence: str):
    assert problems(TierConfig, values) == [sentence]


LAST = "tiers[1]: the target is one model, perhaps a timeout_s, and nothing else."


@pytest.mark.parametrize(
    ("tiers", "sentence"),
    [
        ([], "tiers: needs at least 1 entry, got 0."),
        (
            [{"models": ["a", "b"]}, TARGET],
            "tiers[0]: needs a signal and a threshold; only the last tier always answers.",
        ),
        (
            [MEMBERS, {"models": ["c"], "signal": "exact"}, TARGET],
            "tiers[1]: needs a signal and a threshold; only the last tier always answers.",
        ),
        ([MEMBERS, {"models": ["t", "c"]}], LAST),
        (
            [MEMBERS, TARGET | {"threshold": 0.5, "signal": "exact"}],
            f"{LAST} These have no effect there: signal, threshold.",
        ),
        (
            [MEMBERS, MEMBERS | {"models": ["b", "a"], "timeout_s": 5}, TARGET],
            "tiers[1]: has no effect: tiers[0] compares the same answers in the same way, with a threshold that is no "
            "higher.",
        ),
        (
            [MEMBERS, MEMBERS | {"models": ["a", "b", "c"]}, MEMBERS | {"threshold": 0.75}, TARGET],
            "tiers[2]: has no effect: tiers[0] compares the same answers in the same way, with a threshold that is no "
            "higher.",
        ),
        (
            [MEMBERS | {"models": ["t"], "signal": "chow_avg"}, TARGET],
            "tiers[0]: has no effect: it returns the target's answer, as the last tier does.",
        ),
        (
            [MEMBERS, MEMBERS | {"models": ["a", "t"], "select": "t"}, TARGET],
            "tiers[1]: has no effect: it returns the target's answer, as the last tier does.",
        ),
    ],
)
def test_cascade_rules(tiers: list[Any], sentence: str):
    assert problems(CascadeConfig, {"tiers": tiers}) == [sentence]


@pytest.mark.parametrize(
    ("tiers", "new"),
    [
        ([ALONE, MEMBERS, MEMBERS | {"models": ["a", "b", "c"]}], [("a",), ("b",), ("c",), ("t",)]),
        ([MEMBERS, MEMBERS | {"signal": "rougeL"}], [("a", "b"), (), ("t",)]),
        ([MEMBERS, MEMBERS | {"threshold": 0.25}], [("a", "b"), (), ("t",)]),
        ([MEMBERS | {"tier_timeout_s": 1}] * 2, [("a", "b"), (), ("t",)]),
        ([MEMBERS, MEMBERS | {"models": ["b", "t", "a"]}], [("a", "b"), ("t",), ()]),
        ([ALONE | {"models": ["t"]}, MEMBERS], [("t",), ("a", "b"), ()]),
    ],
)
def test_a_model_of_several_tiers_is_asked_by_the_first(tiers: list[Any], new: list[tuple[str, ...]]):
    assert CascadeConfig.model_validate({"tiers": [*tiers, TARGET]}).newly_asked() == new


def test_a_model_whose_answer_is_carried_over_is_not_deferred_to():
    config = AppConfig.model_validate(cascade(ALONE, MEMBERS, TARGET))
    assert config.later_models() == {"b", "t"}
