"""`cascade calibrate` on synthetic records: thresholds, and what is said of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from serve_app.config import AppConfig, RouterSettings
from serve_app.core.types.answer import Generation
from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.analysis.dataset import CALIBRATE, CHOOSE
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.replay import EVERYTHING
from serve_app.evaluation.calibrate import bound
from serve_app.evaluation.calibrate.calibrate import scored_tiers
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.calibrate.results import PartSizes
from serve_app.evaluation.records.file import Records
from tests.evaluation.calibrate.calibrating import OPTIONS, calibrate
from tests.evaluation.synthetic import answers, args, questions, records, write_records


def scores(path: Path, **options: Any) -> tuple[Any, list[Any]]:
    dataset = load_dataset(Records.load(path), Options(**(OPTIONS | options)))
    view, [candidate] = scored_tiers(dataset)
    return candidate.scored.scores, dataset.parts(view.group.index, CHOOSE, CALIBRATE)


def test_a_deferral_rate(path: Path) -> None:
    result = calibrate(path, Goal(rates=(0.4,)), chosen=True)
    values, (choose, tune, test) = scores(path)
    report = result.calibrated.report.to_json()
    assert report["examples"] == {"choose": len(choose), "calibrate": len(tune), "test": len(test)}
    assert not set(choose) & set(tune) and not set(tune) & set(test)  # noqa: PT018
    rate = 1 - (values[tune] >= result.calibrated.thresholds[0]).mean()
    assert report["deferral_rate_when_calibrated"][0] == pytest.approx(rate)
    assert rate == pytest.approx(0.4, abs=0.02)
    on_test = 1 - (values[test] >= result.calibrated.thresholds[0]).mean()
    assert report["on_test"]["deferral_rate"][0] == pytest.approx(on_test)
    assert not np.isclose(values, result.calibrated.thresholds[0]).any()  # midway between scores


def test_what_nothing_was_chosen_on_calibrates(path: Path) -> None:
    values, (choose, tune, test) = scores(path)
    for goal in (Goal(rates=(0.4,)), Goal(risk=0.1)):
        result = calibrate(path, goal).calibrated
        assert result.report.examples == PartSizes(0, len(choose) + len(tune), len(test))
        deferred = np.mean(~(values[np.concatenate([choose, tune])] >= result.thresholds[0]))
        assert result.report.deferral_rate_when_calibrated.estimate == pytest.approx(deferred)
    for options in ({"chosen": True}, {"tier_signals": ("bleu",)}):
        sizes = calibrate(path, Goal(risk=0.1), **options).calibrated.report.examples
        assert sizes == PartSizes(len(choose), len(tune), len(test))


def test_a_bound_on_very_many_examples_tests_thresholds_of_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "SEARCHED", 100)
    result = calibrate(path, Goal(risk=0.1)).calibrated
    assert result.report.examples.choose > 0
    assert result.report.guarantee is not None
    assert result.report.guarantee.thresholds_tested <= 100


def test_a_quality(path: Path) -> None:
    result = calibrate(path, Goal(quality=0.65))
    assert result.calibrated.problem is None
    assert result.calibrated.report.to_json()["on_test"]["quality"][0] > 0.6


def test_a_quality_that_is_not_tested_is_called_a_mean(path: Path) -> None:
    result = calibrate(path, Goal(quality=0.65))
    quality = result.calibrated.report.quality_when_calibrated
    assert quality is not None
    assert quality.low < 0.65 <= quality.estimate < quality.high
    assert (
        f"Their mean quality is {quality.estimate:.4f} [{quality.low:.4f}, {quality.high:.4f}]: a mean on the very "
        "examples that the threshold came from, not a guarantee. --delta 0.1 tests the goal."
    ) in result.sentences()
    assert result.to_json()["quality_when_calibrated"][0] == pytest.approx(quality.estimate)
    assert "guarantee" not in result.to_json()


def test_a_quality_that_is_tested(path: Path) -> None:
    goal = Goal(quality=0.65, delta=0.1)
    assert str(goal) == "with probability 0.9 a mean quality of at least 0.65"
    result = calibrate(path, goal).calibrated
    assert result.problem is None
    assert result.report.examples.choose > 0  # the target's quality counts too, so the candidates come from there
    assert result.report.quality_when_calibrated is None
    guarantee = result.report.guarantee
    assert guarantee is not None
    assert (guarantee.bounds, guarantee.alpha, guarantee.delta) == ("error", pytest.approx(0.35), 0.1)
    assert guarantee.mean_loss_when_calibrated < 0.33
    assert result.thresholds[0] > calibrate(path, Goal(quality=0.65), chosen=True).calibrated.thresholds[0]
    missed = calibrate(path, Goal(quality=0.85, delta=0.1)).calibrated
    assert "cannot show that the mean quality is at least 0.85 with probability 0.9" in str(missed.problem)


def test_a_signed_risk_accepts_more_than_a_positive_one(path: Path) -> None:
    signed, positive = (calibrate(path, Goal(risk=0.1, loss=loss), chosen=True) for loss in ("signed", "positive"))
    assert signed.calibrated.thresholds[0] <= positive.calibrated.thresholds[0]
    guarantee = signed.calibrated.report.guarantee
    assert guarantee is not None
    assert guarantee.bounds == "quality_difference"
    assert "Goal: with probability 0.9 an expected quality at most 0.1 below the target's." in signed.sentences()


def test_a_budget_that_cannot_be_kept_says_why_and_writes_nothing(path: Path, tmp_path: Path) -> None:
    result = calibrate(path, Goal(budget=0.1), output=tmp_path / "out.yaml")
    assert result.calibrated.problem is not None
    assert "21.6% of the target's" in result.calibrated.problem
    assert "but the goal is 10.0%" in result.calibrated.problem
    assert not (tmp_path / "out.yaml").exists()
    assert result.output is None
    title, goal, nearest, *details = result.sentences()
    assert nearest == "Nothing was written. The nearest: accept every answer."
    assert not any("1e+09" in line or result.id in line for line in [title, goal, *details])


def test_a_budget_in_a_unit_that_is_not_known(path: Path) -> None:
    with pytest.raises(DataError, match="cost in usd is unknown for a model, or the target is free"):
        calibrate(path, Goal(budget=0.5, unit="usd"))


def test_a_risk_bound(path: Path) -> None:
    result = calibrate(path, Goal(risk=0.1))
    report = result.calibrated.report.to_json()
    assert report["guarantee"]["bounds"] == "quality_loss"
    assert report["guarantee"]["mean_loss_when_calibrated"] <= 0.1
    assert report["on_test"]["quality_loss"] <= 0.1


def test_a_risk_that_so_few_examples_cannot_show(path: Path) -> None:
    result = calibrate(path, Goal(risk=0.01), chosen=True)
    assert result.calibrated.thresholds[0] == EVERYTHING
    assert result.calibrated.problem is not None
    assert "About 242 such examples would do. That takes about 484 records." in result.calibrated.problem
    guarantee = result.calibrated.report.to_json()["guarantee"]
    assert (guarantee["examples_needed"], guarantee["records_needed"]) == (242, 484)


def test_a_bound_says_for_which_signals_it_does_not_hold(path: Path) -> None:
    sentence = "A signal picked from cascade evaluate's tables of these records needs fresh ones for it to hold."
    assert sentence in calibrate(path, Goal(risk=0.1)).sentences()
    picked = "If cascade choose picked the cascade on these records, calibrate it with --chosen."
    assert picked in calibrate(path, Goal(risk=0.1)).sentences()
    assert picked not in calibrate(path, Goal(risk=0.1), chosen=True).sentences()
    assert sentence not in calibrate(path, Goal(quality=0.65)).sentences()


def without_some_logprobs(path: Path) -> Path:
    """Write records in which every third answer of `small`, alone in its tier, has no log-probabilities."""
    values = args(("small",), signal="chow_avg", threshold=-0.5)
    examples = questions(400)
    columns = answers(["small", "large"], examples)
    columns["small"] = [
        replace(answer, logprobs=None) if k % 3 == 0 and isinstance(answer, Generation) else answer
        for k, answer in enumerate(columns["small"])
    ]
    return write_records(path, values, examples, columns)


def test_no_threshold_keeps_an_answer_without_log_probabilities(tmp_path: Path) -> None:
    path = without_some_logprobs(tmp_path / "r.jsonl")
    result = calibrate(path, Goal(rates=(0.0,)))
    report = result.calibrated.report.to_json()
    assert "of the examples have no score and are always deferred" in str(result.calibrated.problem)
    estimate, low, high = report["deferral_rate_when_calibrated"]
    assert low < estimate < high
    bought = calibrate(path, Goal(budget=0.6), output=tmp_path / "out.yaml").calibrated
    assert bought.problem is None
    assert bought.report.to_json()["on_test"]["cost_share"]["flops"] == pytest.approx(0.6, abs=0.1)


def test_label_free_needs_no_references(tmp_path: Path) -> None:
    examples = [replace(example, references=()) for example in questions(300)]
    columns = answers(["small", "tiny", "large"], questions(300))
    path = write_records(tmp_path / "r.jsonl", args(), examples, columns)
    result = calibrate(path, Goal(risk=0.3, label_free=True))
    report = result.calibrated.report.to_json()
    assert report["guarantee"]["bounds"] == "disagreement"
    assert "quality" not in report["on_test"]
    assert any("disagreement with the target, which may itself be wrong" in line for line in result.sentences())
    assert calibrate(path, Goal(budget=0.9)).calibrated.problem is None
    with pytest.raises(DataError, match="has no references"):
        calibrate(path, Goal(quality=0.5))


def test_the_agreement_of_the_calibrating_examples_is_counted(path: Path) -> None:
    result = calibrate(path, Goal(rates=(0.4,)))
    agreements, [threshold] = result.calibrated.agreements, result.calibrated.thresholds
    report, bins = result.calibrated.report, len(agreements.counts)
    without = report.examples.calibrate - sum(agreements.counts)  # examples for which a member gave no answer
    assert without == 5
    width = (agreements.high - agreements.low) / bins
    below = sum(agreements.counts[: int((threshold - agreements.low) / width)])
    at = agreements.counts[int((threshold - agreements.low) / width)]
    deferred = round(report.deferral_rate_when_calibrated.estimate * report.examples.calibrate)
    assert below + without <= deferred <= below + at + without


def test_the_id_repeats_though_the_scorers_seconds_are_measured_anew(path: Path) -> None:
    first, second = (calibrate(path, Goal(rates=(0.4,))) for _ in range(2))
    assert first.id == second.id
    shares = [result.calibrated.report.on_test.cost_share["device_s"] for result in (first, second)]
    assert shares[0] != shares[1]
    assert first.id != calibrate(path, Goal(rates=(0.5,))).id
    measured = "The scorer's seconds in them were measured here and now; records hold the models' alone."
    assert measured in first.sentences()


@pytest.mark.parametrize(("goal", "name"), [({"risk": 0}, "--risk"), ({"risk": 0.1, "delta": 1}, "--delta")])
def test_bounds_out_of_range(goal: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} must be above 0 and below 1, not"):
        Goal(**goal)


def test_a_risk_without_any_score(path: Path) -> None:
    with pytest.raises(DataError, match="None of the examples has a score by 'rougeL'"):
        calibrate(path, Goal(risk=0.1), cascades=None, tiers=(("small",),), target="large", tier_signals=("rougeL",))


@pytest.mark.parametrize(
    "goal",
    [
        {},
        {"rates": (0.5,), "budget": 0.5},
        {"rates": (0.5,), "label_free": True},
        {"rates": (0.5,), "delta": 0.1},
        {"quality": 1.0, "delta": 0.1},
        {"quality": 0.5, "loss": "signed"},
        {"risk": 0.5, "loss": "signed", "label_free": True},
    ],
)
def test_goals_that_are_invalid(goal: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Goal(**goal)


def test_too_few_examples(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 examples are too few"):
        calibrate(records(tmp_path / "r.jsonl", 3), Goal(rates=(0.5,)))


def test_thresholds_of_another_calibration_are_refused() -> None:
    settings = RouterSettings.model_validate({"calibrations": {"default": {"id": "x", "thresholds": [0.25]}}})
    with pytest.raises(ValueError, match=r"calibrations.default: is about \[0.25\], not about \[0.5\]"):
        settings.applied_to(AppConfig.model_validate(args()))


def test_prices_and_references_give_an_exchange_rate_to_deploy(tmp_path: Path) -> None:
    values, examples = args(), questions(120)
    for name, price in {"small": 1e3, "tiny": 1e2, "large": 1e5}.items():
        values["models"][name] |= {"output_usd": price}
    columns = answers(["small", "tiny", "large"], examples)
    path = write_records(tmp_path / "records.jsonl", values, examples, columns)
    result = calibrate(path, Goal(budget=2.0), output=tmp_path / "out.yaml")
    points = result.calibrated.exchange
    assert 2 <= len(points) <= 64
    assert [(point.usd, point.quality) for point in points] == sorted((point.usd, point.quality) for point in points)
    [router] = [
        deployment
        for deployment in yaml.safe_load((tmp_path / "out.yaml").read_text())["applications"][0]["deployments"]
        if deployment["name"] == "Router"
    ]
    settings = RouterSettings.model_validate(router["user_config"])
    assert [exchange_price.point() for exchange_price in settings.calibrations["default"].exchange] == list(points)
    assert any(line.startswith("Exchange rate, for willingness_to_pay_usd:") for line in result.sentences())


def test_without_prices_there_is_no_exchange_rate(path: Path) -> None:
    result = calibrate(path, Goal(rates=(0.4,)))
    assert result.calibrated.exchange == ()
    assert "exchange" not in result.user_config["calibrations"]["default"]
