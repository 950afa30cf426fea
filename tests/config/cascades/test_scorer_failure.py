"""What a user writes about a scorer that fails, and what is said of what cannot be meant."""

from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.config import AppConfig
from serve_app.config.explain import explain
from serve_app.core.types.policy import StandIn

MODELS = {name: {"engine": "replay", "default": "x"} for name in ("a", "b", "t")}


def config(on_scorer_failure: Any, signal: str = "sbert", models: tuple[str, ...] = ("a", "b")) -> AppConfig:
    tier = {"models": [*models], "signal": signal, "threshold": 0.5, "on_scorer_failure": on_scorer_failure}
    return AppConfig.model_validate({"models": MODELS, "cascades": {"c": {"tiers": [tier, {"models": ["t"]}]}}})


@pytest.mark.parametrize("deferring", ["defer", None])
def test_it_defers_by_default(deferring: Any) -> None:
    assert config(deferring).tiers("c", [0.5])[0].stand_in is None
    assert config(deferring).standing_in() == {}


def test_a_lexical_signal_stands_in() -> None:
    written = config({"signal": "rougeL", "threshold": 0.4})
    assert written.tiers("c", [0.9])[0].stand_in == StandIn("rougeL", 0.4)
    assert list(written.standing_in()) == ["rougeL"]


@pytest.mark.parametrize(
    ("stand_in", "signal", "sentence"),
    [
        ({"signal": "rougel", "threshold": 0}, "sbert", "on_scorer_failure.signal: 'rougel' is not a signal that the"),
        (
            {"signal": "sbert", "threshold": 0},
            "bleu",
            "on_scorer_failure.signal: 'sbert' is not a signal that the router",
        ),
        ({"signal": "rougeL"}, "sbert", "on_scorer_failure.threshold: required, but missing"),
        (
            {"signal": "rougeL", "threshold": 0},
            "chow_avg",
            "on_scorer_failure: has no effect: 'chow_avg' asks no scorer",
        ),
    ],
)
def test_faults_are_named(stand_in: Any, signal: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(stand_in, signal, ("a",) if signal == "chow_avg" else ("a", "b"))
    assert f"cascades.c.tiers[0].{sentence}" in " ".join(explain(caught.value, AppConfig))
