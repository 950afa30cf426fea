"""What a user writes about shed, and what is said of what cannot be meant."""

from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.config import AppConfig
from serve_app.config.explain import explain

MODELS = {name: {"engine": "replay", "default": "x"} for name in ("a", "b", "t")}
TIER = {"models": ["a", "b"], "signal": "exact", "threshold": 0.5}


def config(shed: Any, tier: Any = TIER) -> AppConfig:
    tiers = ([] if tier is None else [tier]) + [{"models": ["t"]}]
    return AppConfig.model_validate({"models": MODELS, "cascades": {"c": {"tiers": tiers, "shed": shed}}})


@pytest.mark.parametrize("off", ["off", False, None])
def test_it_is_off_by_default(off: Any) -> None:
    assert config(off).cascades["c"].shed is None


def test_its_defaults_let_operators_decide() -> None:
    shed = config({}).cascades["c"].shed
    assert shed is not None
    assert (shed.by, shed.begin_at, shed.end_at, shed.hold_s, shed.opt_out) == ("thresholds", 0.5, 0.1, 10, False)


@pytest.mark.parametrize(
    ("shed", "tier", "sentence"),
    [
        ({}, None, "cascades.c.shed: has no effect: the cascade has one tier"),
        ({"by": "member"}, TIER, "cascades.c.shed.by: "),
        ({"by": "members", "thresholds": [0.1]}, TIER, "cascades.c.shed.thresholds: have no effect by members"),
        ({"thresholds": [0.6]}, TIER, "shed.thresholds[0]: 0.6 is above the threshold 0.5; it must be no higher"),
        ({"thresholds": [0.1, 0.1]}, TIER, "shed.thresholds: needs 1, one for each tier but the last, got 2"),
        ({"begin_at": 0.2, "end_at": 0.2}, TIER, "end_at: must be below begin_at (0.2), got 0.2"),
        ({"begin_at": 0}, TIER, "cascades.c.shed.begin_at"),
    ],
)
def test_faults_are_named(shed: Any, tier: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(shed, tier)
    assert sentence in " ".join(explain(caught.value, AppConfig))
