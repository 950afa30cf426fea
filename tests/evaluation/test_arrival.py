"""Tiers that decide, or select, by the order of arrival: records have none, so nothing is promised of them."""

from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import ConfigError
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.calibrate.command import CalibrationRun, run
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import answers, args, questions, serving_file, write_records

MEMBERS = ("small", "tiny", "odd")
BUDGET = Goal(budget=2.0)
DECIDED_BY_ARRIVAL = r"tiers\[0\]: quorum and tier_timeout_s depend on arrival, .* calibrate without them"


def values_of(**options: Any) -> dict[str, Any]:
    values = args(MEMBERS, signal="exact", threshold=0.4)
    values["cascades"]["default"]["tiers"][0] |= options
    return values


def records_of(folder: Path, **options: Any) -> Records:
    examples = questions(24)
    columns = answers([*MEMBERS, "large"], examples)
    return Records.load(write_records(folder / "records.jsonl", values_of(**options), examples, columns))


def calibrate(records: Records, goal: Goal, config: Path | None = None, output: Path | None = None) -> CalibrationRun:
    options = Options(cascades=("default",), signals=(), resamples=10, processes=1)
    return run(records, options, goal, fit=False, config=config, output=output)


def flags(records: Records) -> tuple[str, ...]:
    options = Options(cascades=("default",), signals=("exact",), resamples=10, processes=1)
    return evaluate(load_dataset(records, options)).groups[-1].cascades[0].flags


@pytest.mark.parametrize("limit", [{"quorum": 2}, {"tier_timeout_s": 1.0}])
def test_what_arrival_decides_is_not_calibrated_and_said_by_evaluate(tmp_path: Path, limit: dict[str, Any]) -> None:
    records = records_of(tmp_path, **limit)
    with pytest.raises(ConfigError, match=DECIDED_BY_ARRIVAL):
        calibrate(records, BUDGET)
    assert flags(records) == ("tiers[0] has a quorum or a tier_timeout_s; all figures are those of all answers.",)


@pytest.mark.parametrize("goal", [Goal(quality=0.5), Goal(risk=0.5), Goal(risk=0.5, label_free=True)])
def test_what_arrival_selects_is_calibrated_for_deferral_alone(tmp_path: Path, goal: Goal) -> None:
    records = records_of(tmp_path, early="decision")
    with pytest.raises(ConfigError, match=r"tiers\[0\]: under early: decision the answer .* with early: selection"):
        calibrate(records, goal)
    assert calibrate(records, BUDGET).calibrated.problem is None
    assert flags(records) == (
        "tiers[0] has early: decision; qualities are those of early: selection, deferral is the same.",
    )


@pytest.mark.parametrize("options", [{}, {"early": "off"}, {"early": "decision", "select": "small"}])
def test_nothing_is_said_of_tiers_that_wait_for_what_matters(tmp_path: Path, options: dict[str, Any]) -> None:
    records = records_of(tmp_path, **options)
    assert flags(records) == ()
    assert calibrate(records, Goal(quality=0.1)).calibrated.thresholds


@pytest.mark.parametrize(("recorded", "served"), [("selection", "off"), ("off", "selection")])
def test_a_config_may_wait_longer_or_less_long_for_the_same_answer(tmp_path: Path, recorded: str, served: str) -> None:
    records = records_of(tmp_path, early=recorded)
    config = serving_file(tmp_path / "config.yaml", values_of(early=served))
    result = calibrate(records, BUDGET, config, tmp_path / "out.yaml")
    assert result.output == tmp_path / "out.yaml"


@pytest.mark.parametrize("served", [{"early": "decision"}, {"quorum": 2}, {"tier_timeout_s": 1.0}])
def test_a_config_that_decides_or_selects_otherwise_is_refused(tmp_path: Path, served: dict[str, Any]) -> None:
    config = serving_file(tmp_path / "config.yaml", values_of(**served))
    with pytest.raises(ConfigError, match="the cascade 'default' is not the one in the records"):
        calibrate(records_of(tmp_path), BUDGET, config, tmp_path / "out.yaml")
