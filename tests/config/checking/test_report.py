"""What `cascade check` says of a valid config that does not do what it seems to."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.config.checking.report import report
from serve_app.config.serve_file import load

CALIBRATED = {"id": "c1", "thresholds": [0.5], "shed": {"thresholds": [0.2]}}


EXACT = {"models": ["a", "b"], "signal": "exact", "threshold": 0.5}


def warnings_about(tmp_path: Path, shed: Any, calibrations: Any, tier: dict[str, Any] = EXACT) -> list[str]:
    tiers = [tier, {"models": ["t"]}]
    args = {
        "models": {name: {"engine": "replay", "default": "x"} for name in "abt"},
        "cascades": {"default": {"tiers": tiers, "shed": shed}},
    }
    router = {"name": "Router", "user_config": {"calibrations": calibrations}}
    application = {"import_path": "serve_app.app:build_app", "args": args, "deployments": [router]}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"applications": [application]}))
    return report("config.yaml", load(path)).warnings


@pytest.mark.parametrize(
    ("shed", "calibrations", "warned"),
    [
        ({}, {}, True),
        ({}, {"default": CALIBRATED | {"shed": None}}, True),
        ({}, {"default": CALIBRATED}, False),
        ({"thresholds": [0.2]}, {}, False),
        ({"by": "members"}, {}, False),
        (None, {}, False),
    ],
)
def test_a_cascade_that_would_shed_nothing(tmp_path: Path, shed: Any, calibrations: Any, warned: bool) -> None:
    sentence = (
        "cascades.default.shed: there are no lower thresholds, so nothing is shed: cascade calibrate --shed finds some."
    )
    assert warnings_about(tmp_path, shed, calibrations) == ([sentence] if warned else [])


@pytest.mark.parametrize(
    ("signal", "threshold", "warned"),
    [("exact", 1, False), ("exact", 1.5, True), ("rougeL", 1.01, True), ("sbert", 1, False)],
)
def test_a_threshold_that_no_agreement_reaches(tmp_path: Path, signal: str, threshold: float, warned: bool) -> None:
    tier = {"models": ["a", "b"], "signal": signal, "threshold": threshold}
    sentence = (
        f"cascades.default: the threshold {threshold} of tier 1 is above 1, the most that {signal} can be: every "
        "request is deferred, and pays for the tier in vain."
    )
    assert warnings_about(tmp_path, None, {}, tier) == ([sentence] if warned else [])


@pytest.mark.parametrize(
    ("shed", "sentence"),
    [
        (
            None,
            "cascades.default.shed: the cascade does not shed, so its calibration's thresholds under pressure have no "
            "effect: write shed: {} to use them.",
        ),
        (
            {"by": "members"},
            "cascades.default.shed.by: members accepts any answer, so its calibration's thresholds under pressure have "
            "no effect: write by: thresholds to use them.",
        ),
    ],
)
def test_thresholds_under_pressure_that_have_no_effect(tmp_path: Path, shed: Any, sentence: str) -> None:
    assert warnings_about(tmp_path, shed, {"default": CALIBRATED}) == [sentence]
