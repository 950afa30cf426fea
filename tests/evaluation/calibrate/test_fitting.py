"""What is fitted on examples of its own before the thresholds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serve_app.config.serve_file import load
from serve_app.errors import ConfigError, DataError, UsageError
from serve_app.evaluation.analysis.fitting import fitted
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.records.file import Records
from tests.evaluation.calibrate.calibrating import OPTIONS, calibrate
from tests.evaluation.synthetic import answers, args, questions, records, write_records


def test_z_scores_are_fitted_on_examples_of_their_own(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no zscores for small, tiny; --fit measures them"):
        calibrate(path, Goal(rates=(0.4,)), tier_signals=("chow_avg",))
    result = calibrate(path, Goal(rates=(0.4,)), fit=True, tier_signals=("chow_avg",), output=tmp_path / "out.yaml")
    loaded = load(tmp_path / "out.yaml").application.args
    assert loaded.cascades["default"].tiers[0].signal == "chow_avg"
    assert set(loaded.signals["chow_avg"].zscores) == {"small", "tiny"}  # type: ignore[union-attr]
    assert result.calibrated.report.to_json()["deferral_rate_when_calibrated"][0] == pytest.approx(0.4, abs=0.02)
    with pytest.raises(ConfigError, match="'rougeL' has nothing to fit"):
        calibrate(path, Goal(rates=(0.4,)), fit=True)


def test_with_records_of_their_own_for_fitting_all_others_calibrate(path: Path, tmp_path: Path) -> None:
    examples = [replace(example, id=f"fit-{example.id}") for example in questions(200)]
    columns = answers(["small", "tiny", "large"], questions(200), seed=5)
    fit_records = write_records(tmp_path / "fit.jsonl", args(), examples, columns)
    result = calibrate(path, Goal(rates=(0.4,)), fit=True, tier_signals=("chow_avg",), fit_records=fit_records)
    sizes = result.calibrated.report.examples
    assert sizes.calibrate == 400
    assert sizes.choose + sizes.test == 200
    assert abs(sizes.choose - sizes.test) < 40

    fitted_on = load_dataset(Records.load(fit_records), Options(**(OPTIONS | {"tier_signals": ("chow_avg",)})))
    half, _ = fitted_on.parts(np.arange(200), 0.5)
    assert sizes.choose == len(half)
    assert result.fitted == fitted(fitted_on, half)  # by no other example's confidence

    missed = calibrate(path, Goal(risk=0.001), fit_records=fit_records).calibrated.report.guarantee
    assert missed is not None
    assert missed.records_needed == missed.examples_needed  # for all of them calibrate


def test_fit_records_that_are_not_apart_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="shares 400 examples with the records to calibrate on, such as 'Synthetic-0'"):
        calibrate(path, Goal(risk=0.1), fit_records=path)
    with pytest.raises(UsageError, match="--chosen keeps a part of the records from calibrating"):
        calibrate(path, Goal(risk=0.1), fit_records=path, chosen=True)
    other_records = records(tmp_path / "other.jsonl", 20, members=("tiny", "odd"))
    with pytest.raises(ConfigError, match=r"other.jsonl: the cascade 'default' is not the one in the records"):
        calibrate(path, Goal(risk=0.1), fit_records=other_records)


def test_a_blend_is_fitted(tmp_path: Path) -> None:
    values = args(signal="both")
    zscores = {"small": {"mean": 0, "std": 1}, "tiny": {"mean": 0, "std": 1}}
    values["signals"] = {
        "sure": {"kind": "chow_avg", "zscores": zscores},
        "both": {"kind": "blend", "agreement": "rougeL", "confidence": "sure"},
    }
    examples = questions(300)
    columns = answers(["small", "tiny", "large"], examples)
    path = write_records(tmp_path / "r.jsonl", values, examples, columns)
    result = calibrate(path, Goal(rates=(0.4,)), fit=True, output=tmp_path / "out.yaml")
    blend = load(tmp_path / "out.yaml").application.args.signals["both"]
    assert blend == result.fitted["both"]
    assert blend.logistic  # type: ignore[union-attr]
    assert blend.weights.confidence > 0  # type: ignore[union-attr]
    assert 0 < result.calibrated.thresholds[0] < 1
