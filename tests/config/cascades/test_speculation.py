"""Which tiers are asked ahead of time."""

from typing import Any

import pytest

from serve_app.config import (
    AppConfig,
    CascadeConfig,
)
from serve_app.core.speculation import SpeculationPolicy
from tests.config.values import MEMBERS, TARGET, cascade, problems

RULES = "needs exactly one of when, after_s and percentile"


@pytest.mark.parametrize(
    ("speculate", "policy"),
    [
        (False, None),  # an unquoted `off`
        ("off", None),
        (None, None),
        ("always", SpeculationPolicy("always")),
        ({"after_s": 0}, SpeculationPolicy(after_s=0.0)),
        ({"percentile": 90}, SpeculationPolicy(percentile=90.0)),
        ({"when": "adaptive", "second_usd": 0.01}, SpeculationPolicy("adaptive", second_usd=0.01)),
    ],
)
def test_a_speculation_has_short_forms(speculate: Any, policy: SpeculationPolicy | None) -> None:
    config = CascadeConfig.model_validate({"tiers": [MEMBERS, TARGET], "speculate": speculate})
    assert (config.speculate and config.speculate.policy()) == policy


@pytest.mark.parametrize(
    ("speculate", "sentence"),
    [
        ({}, f"speculate: {RULES}, got none."),
        ({"when": "always", "after_s": 1}, f"speculate: {RULES}, got when and after_s."),
        ("adaptive", "speculate.second_usd: required with when: adaptive, and not allowed otherwise."),
        ({"when": "always", "second_usd": 1}, "speculate.second_usd: required with when: adaptive, and not allowed"),
        ("sometimes", "speculate: must be off, always, adaptive or a mapping"),
        (0, "speculate: must be off, always, adaptive or a mapping, such as {after_s: 0.3}, got 0"),
        ({"percentile": 100}, "speculate.percentile: must be less than 100"),
    ],
)
def test_a_speculation_that_says_nothing_useful(speculate: Any, sentence: str) -> None:
    [fault] = problems(CascadeConfig, {"tiers": [MEMBERS, TARGET], "speculate": speculate})
    assert fault.startswith(sentence)


API = {"engine": "openai_api", "keyless": True, "base_url": "http://x/v1", "model": "m", "input_usd": 1}


@pytest.mark.parametrize(
    ("model", "speculate", "sentence"),
    [
        (API, "always", "asks 't' ahead of its tier, which bills cancelled calls; set billed: true to do it, or"),
        (API | {"cancelled_billed": False}, "always", None),
        (API, {"when": "always", "billed": True}, None),
        (API | {"input_usd": None}, "always", None),
        (None, {"when": "adaptive", "second_usd": 1}, "adaptive weighs costs, and 't' has no price."),
    ],
)
def test_what_may_not_be_asked_ahead(model: dict[str, Any] | None, speculate: Any, sentence: str | None) -> None:
    body = cascade(MEMBERS, TARGET)
    body["cascades"]["default"]["speculate"] = speculate
    if model is not None:
        body["models"]["t"] = model
    if sentence is None:
        AppConfig.model_validate(body)
    else:
        [fault] = problems(AppConfig, body)
        assert fault.startswith(f"cascades.default.speculate: {sentence}")
