"""`cascade calibrate --shed`: thresholds under pressure, for an easier goal of the same kind."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.config.serve_file import load
from serve_app.errors import ConfigError
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.calibrate.command import CalibrationRun, run
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import args, records, serving_file

OPTIONS = Options(cascades=("default",), signals=(), resamples=100)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return records(tmp_path_factory.mktemp("records") / "records.jsonl", 400)


def calibrate(
    path: Path, goal: Goal, shed: tuple[float, ...], config: Path | None = None, output: Path | None = None
) -> CalibrationRun:
    return run(Records.load(path), OPTIONS, goal, fit=False, config=config, output=output, shed=shed)


@pytest.mark.parametrize(
    ("goal", "shed"),
    [(Goal(rates=(0.65,)), (0.4,)), (Goal(risk=0.05), (0.2,)), (Goal(budget=0.9), (0.6,)), (Goal(quality=0.8), (0.7,))],
)
def test_its_thresholds_are_those_of_the_easier_goal_alone(path: Path, goal: Goal, shed: tuple[float, ...]) -> None:
    result = calibrate(path, goal, shed)
    assert result.calibrated.problem is None
    usual, easier = calibrate(path, goal, ()), calibrate(path, goal.relaxed(shed), ())
    assert result.calibrated.thresholds == usual.calibrated.thresholds
    assert result.alternatives["shed"].thresholds == easier.calibrated.thresholds
    assert result.alternatives["shed"].thresholds < result.calibrated.thresholds
    assert result.id not in (usual.id, easier.id)


def test_they_are_written_for_the_router_and_told(path: Path, tmp_path: Path) -> None:
    values = args()
    values["cascades"]["default"]["shed"] = {}
    output = tmp_path / "out.yaml"
    result = calibrate(path, Goal(rates=(0.65,)), (0.4,), serving_file(tmp_path / "config.yaml", values), output)
    [lower] = result.alternatives["shed"].thresholds
    assert (
        f"Under pressure (shed), rougeL decides, for the goal: defer 40.0% of the requests. Threshold: {lower:.6g}."
    ) in result.sentences()
    file = load(output)
    shed = file.args_in_force().cascades["default"].shed
    assert shed is not None
    assert shed.thresholds == [lower]
    assert file.thresholds() == {"default": list(result.calibrated.thresholds)}
    note = yaml.safe_load(output.read_text())["applications"][0]["deployments"][0]["user_config"]["calibrations"]
    assert note["default"]["shed"]["goal"] == "defer 40.0% of the requests"
    assert result.to_json()["shed"]["threshold"] == lower


def test_a_goal_that_only_they_miss_is_told_as_theirs(path: Path) -> None:
    result = calibrate(path, Goal(budget=0.9), (0.1,))
    [threshold] = result.calibrated.thresholds
    _, _, nothing, *_, nearest, _ = result.sentences()
    assert nothing == f"Nothing was written. This goal is met at {threshold:.6g}."
    assert nearest == (
        "Under pressure (shed), rougeL decides and does not meet the goal: cost at most 10.0% of the target "
        "alone, in flops. The nearest: accept every answer."
    )


def test_what_is_nearest_to_both_goals_is_told_of_each(path: Path) -> None:
    _, _, nothing, *_, nearest, _ = calibrate(path, Goal(budget=0.2), (0.1,)).sentences()
    assert nothing == "Nothing was written. The nearest: accept every answer."
    assert nearest.startswith("Under pressure (shed), rougeL decides and does not meet the goal: ")


@pytest.mark.parametrize(
    ("shed", "warned"),
    [(None, "cascades.default.shed: "), ({"by": "members"}, "cascades.default.shed.by: "), ({}, None)],
)
def test_a_cascade_without_a_use_for_them_is_named(path: Path, tmp_path: Path, shed: Any, warned: str | None) -> None:
    values = args()
    values["cascades"]["default"]["shed"] = shed
    config = serving_file(tmp_path / "config.yaml", values)
    result = calibrate(path, Goal(rates=(0.65,)), (0.4,), config)
    assert [warning.startswith(str(warned)) for warning in result.warnings] == ([] if warned is None else [True])
    assert calibrate(path, Goal(rates=(0.65,)), (), config).warnings == ()


@pytest.mark.parametrize(
    ("goal", "shed", "sentence"),
    [
        (Goal(rates=(0.4,)), (0.5,), "--shed 0.5: must be below the usual --deferral-rate 0.4."),
        (Goal(risk=0.1), (0.1,), "--shed 0.1: must be above the usual --risk 0.1."),
        (Goal(quality=0.5), (0.6,), "--shed 0.6: must be below the usual --quality 0.5."),
        (Goal(rates=(0.4, 0.2)), (0.2,), "--shed: needs as many values as --deferral-rate has, 2; got 1."),
    ],
)
def test_a_goal_that_is_no_easier_is_refused(goal: Goal, shed: tuple[float, ...], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        goal.relaxed(shed)
    assert str(caught.value) == sentence
