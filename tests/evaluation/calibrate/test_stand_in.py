"""`cascade calibrate --stand-in`: the threshold of the signal that decides while the scorer fails."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from serve_app.config.serve_file import load
from serve_app.core.types.policy import StandIn
from serve_app.errors import ConfigError, UsageError
from serve_app.evaluation.analysis.dataset import CALIBRATE
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.calibrate.calibrate import scored_tiers
from serve_app.evaluation.calibrate.command import CalibrationRun, run
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import args, records, serving_file, three_tier_records

RATE = Goal(rates=(0.4,))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return records(tmp_path_factory.mktemp("records") / "records.jsonl", 400)


def options(stand_in: str | None) -> Options:
    return Options(cascades=("default",), signals=(), resamples=100, stand_in=stand_in)


def calibrate(path: Path, stand_in: str | None = "chrf", goal: Goal = RATE, **files: Path) -> CalibrationRun:
    files = {"config": None, "output": None} | files
    return run(Records.load(path), options(stand_in), goal, fit=False, **files)


def test_its_threshold_meets_the_same_goal_by_its_own_scores(path: Path) -> None:
    result = calibrate(path)
    dataset = load_dataset(Records.load(path), options("chrf"))
    view, [candidate] = scored_tiers(dataset, stand_in=True)
    assert candidate.tier.signal == "chrf"
    stand_in = result.alternatives["stand_in"]
    tune, _ = dataset.parts(view.group.index, CALIBRATE)
    rate = np.mean(~(candidate.scored.scores[tune] >= stand_in.thresholds[0]))
    assert stand_in.report.deferral_rate_when_calibrated.estimate == pytest.approx(rate)
    assert rate == pytest.approx(0.4, abs=0.03)
    assert result.calibrated.thresholds == calibrate(path, None).calibrated.thresholds
    assert result.calibrated.thresholds != stand_in.thresholds


def test_it_is_told_and_written(path: Path, tmp_path: Path) -> None:
    config = serving_file(tmp_path / "config.yaml", args())
    output = tmp_path / "out.yaml"
    result = calibrate(path, config=config, output=output)
    [threshold] = result.alternatives["stand_in"].thresholds
    sentence = (
        f"If the scorer fails, chrf decides, for the goal: defer 40.0% of the requests. Threshold: {threshold:.6g}."
    )
    assert sentence in result.sentences()
    assert result.to_json()["stand_in"]["threshold"] == threshold
    written = load(output).application.args
    assert written.tiers("default", [0.5])[0].stand_in == StandIn("chrf", threshold)
    note = yaml.safe_load(output.read_text())["applications"][0]["deployments"][0]["user_config"]["calibrations"]
    assert note["default"]["report"]["stand_in"]["threshold"] == threshold
    assert result.id != calibrate(path, None).id
    # The written file, whose cascade has a stand-in now, is still that of the records.
    assert calibrate(path, None, config=output, output=tmp_path / "again.yaml").calibrated.problem is None


def test_a_config_in_which_its_name_means_another_signal_is_refused(path: Path, tmp_path: Path) -> None:
    values = args() | {"signals": {"chrf": {"kind": "chrf", "char_order": 1}}}
    config, output = serving_file(tmp_path / "config.yaml", values), tmp_path / "out.yaml"
    with pytest.raises(ConfigError, match=r"signals\.chrf\.char_order is not that of the records"):
        calibrate(path, config=config, output=output)
    assert not output.exists()
    assert calibrate(path, "bleu", config=config, output=output).output == output  # whose name means the same


def test_a_stand_in_of_another_goal_is_named(path: Path, tmp_path: Path) -> None:
    config, output = serving_file(tmp_path / "config.yaml", args()), tmp_path / "out.yaml"
    first = calibrate(path, config=config, output=output)
    [threshold] = first.alternatives["stand_in"].thresholds
    again = calibrate(path, None, Goal(rates=(0.65,)), config=output, output=output)
    sentence = (
        f"cascades.default.tiers[0].on_scorer_failure: chrf at {threshold:g} is kept as it was, and is not for this "
        "goal: cascade calibrate with this goal and --stand-in chrf renews it."
    )
    assert again.output == output
    assert (first.warnings, again.warnings) == ((), (sentence,))
    assert f"warning: {sentence}" in again.sentences()
    assert again.to_json()["warnings"] == [sentence]
    assert calibrate(path, None, config=output).warnings == ()  # nothing is written


def test_a_goal_that_it_misses_is_missed(path: Path) -> None:
    missed = calibrate(path, goal=Goal(quality=0.999)).calibrated.problem
    assert missed is not None
    assert "--stand-in: " in missed


def test_a_goal_that_only_it_misses_is_told_as_its_own(path: Path, tmp_path: Path) -> None:
    result = calibrate(path, "exact", Goal(quality=0.84), output=tmp_path / "out.yaml")
    assert (result.calibrated.report.met, result.alternatives["stand_in"].report.met) == (True, False)
    _, _, nothing, *_, nearest, _ = result.sentences()
    assert nothing == "Nothing was written. This goal is met at 0.761905."
    assert nearest == (
        "If the scorer fails, exact decides and does not meet the goal: a mean quality of at least 0.84. "
        "The nearest: 0.5."
    )
    assert not (tmp_path / "out.yaml").exists()


@pytest.mark.parametrize(
    ("signal", "sentence"),
    [
        ("chfr", "--stand-in: 'chfr' is not a signal that the router computes. Did you mean"),
        ("sbert", "'sbert' is not a sig"),
    ],
)
def test_only_a_lexical_signal_stands_in(path: Path, signal: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        calibrate(path, signal)
    assert sentence in str(caught.value)


def test_of_several_tiers_none_is_calibrated(tmp_path: Path) -> None:
    path = three_tier_records(tmp_path / "records.jsonl", 40)
    with pytest.raises(UsageError, match=r"^--stand-in: 'default' needs one tier before the target"):
        calibrate(path, goal=Goal(rates=(0.4, 0.2)))
