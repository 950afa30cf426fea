"""`cascade calibrate` on synthetic records: thresholds, what is said of them, and files that can be deployed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from serve_app.config import AppConfig, RouterSettings
from serve_app.config.serve_file import load
from serve_app.core.types.answer import Generation
from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.analysis.dataset import CALIBRATE, CHOOSE
from serve_app.evaluation.analysis.fitting import fitted
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.replay import EVERYTHING
from serve_app.evaluation.calibrate import bound
from serve_app.evaluation.calibrate.calibrate import scored_tiers
from serve_app.evaluation.calibrate.command import CalibrationRun, run
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.calibrate.results import PartSizes
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import answers, args, questions, records, serving_file, write_records

OPTIONS: dict[str, Any] = {"cascades": ("default",), "signals": (), "resamples": 100}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return records(tmp_path_factory.mktemp("records") / "records.jsonl", 400)


def calibrate(
    path: Path, goal: Goal, *, fit: bool = False, output: Path | None = None, **options: Any
) -> CalibrationRun:
    own = {name: options.pop(name) for name in ("chosen", "fit_records") if name in options}
    config, options = options.pop("config", None), OPTIONS | options
    return run(Records.load(path), Options(**options), goal, fit=fit, config=config, output=output, **own)


def scores(path: Path, **options: Any) -> tuple[Any, list[Any]]:
    dataset = load_dataset(Records.load(path), Options(**(OPTIONS | options)))
    view, [candidate] = scored_tiers(dataset)
    return candidate.scored.scores, dataset.parts(view.group.index, CHOOSE, CALIBRATE)


def test_a_deferral_rate(path: Path) -> None:
    done = calibrate(path, Goal(rates=(0.4,)), chosen=True)
    values, (choose, tune, test) = scores(path)
    report = done.calibrated.report.to_json()
    assert report["examples"] == {"choose": len(choose), "calibrate": len(tune), "test": len(test)}
    assert not set(choose) & set(tune) and not set(tune) & set(test)  # noqa: PT018
    rate = 1 - (values[tune] >= done.calibrated.thresholds[0]).mean()
    assert report["deferral_rate_when_calibrated"][0] == pytest.approx(rate)
    assert rate == pytest.approx(0.4, abs=0.02)
    on_test = 1 - (values[test] >= done.calibrated.thresholds[0]).mean()
    assert report["on_test"]["deferral_rate"][0] == pytest.approx(on_test)
    assert not np.isclose(values, done.calibrated.thresholds[0]).any()  # midway between scores


def test_what_nothing_was_chosen_on_calibrates(path: Path) -> None:
    values, (choose, tune, test) = scores(path)
    for goal in (Goal(rates=(0.4,)), Goal(risk=0.1)):
        done = calibrate(path, goal).calibrated
        assert done.report.examples == PartSizes(0, len(choose) + len(tune), len(test))
        deferred = np.mean(~(values[np.concatenate([choose, tune])] >= done.thresholds[0]))
        assert done.report.deferral_rate_when_calibrated.estimate == pytest.approx(deferred)
    for options in ({"chosen": True}, {"tier_signals": ("bleu",)}):
        sizes = calibrate(path, Goal(risk=0.1), **options).calibrated.report.examples
        assert sizes == PartSizes(len(choose), len(tune), len(test))


def test_a_bound_on_very_many_examples_tests_thresholds_of_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "SEARCHED", 100)
    done = calibrate(path, Goal(risk=0.1)).calibrated
    assert done.report.examples.choose > 0
    assert done.report.guarantee is not None
    assert done.report.guarantee.thresholds_tested <= 100


def test_a_quality(path: Path) -> None:
    done = calibrate(path, Goal(quality=0.65))
    assert done.calibrated.problem is None
    assert done.calibrated.report.to_json()["on_test"]["quality"][0] > 0.6


def test_a_quality_that_is_not_tested_is_called_a_mean(path: Path) -> None:
    done = calibrate(path, Goal(quality=0.65))
    quality = done.calibrated.report.quality_when_calibrated
    assert quality is not None
    assert quality.low < 0.65 <= quality.estimate < quality.high
    assert (
        f"Their mean quality is {quality.estimate:.4f} [{quality.low:.4f}, {quality.high:.4f}]: a mean on the very "
        "examples that the threshold came from, not a guarantee. --delta 0.1 tests the goal."
    ) in done.sentences()
    assert done.to_json()["quality_when_calibrated"][0] == pytest.approx(quality.estimate)
    assert "guarantee" not in done.to_json()


def test_a_quality_that_is_tested(path: Path) -> None:
    goal = Goal(quality=0.65, delta=0.1)
    assert str(goal) == "with probability 0.9 a mean quality of at least 0.65"
    done = calibrate(path, goal).calibrated
    assert done.problem is None
    assert done.report.examples.choose > 0  # the target's quality counts too, so the candidates come from there
    assert done.report.quality_when_calibrated is None
    guarantee = done.report.guarantee
    assert guarantee is not None
    assert (guarantee.bounds, guarantee.alpha, guarantee.delta) == ("error", pytest.approx(0.35), 0.1)
    assert guarantee.mean_loss_when_calibrated < 0.33
    assert done.thresholds[0] > calibrate(path, Goal(quality=0.65), chosen=True).calibrated.thresholds[0]
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
    done = calibrate(path, Goal(budget=0.1), output=tmp_path / "out.yaml")
    assert done.calibrated.problem is not None
    assert "21.6% of the target's" in done.calibrated.problem
    assert "but the goal is 10.0%" in done.calibrated.problem
    assert not (tmp_path / "out.yaml").exists()
    assert done.output is None


def test_a_budget_in_a_unit_that_is_not_known(path: Path) -> None:
    with pytest.raises(DataError, match="cost in usd is unknown for a model, or the target is free"):
        calibrate(path, Goal(budget=0.5, unit="usd"))


def test_a_risk_bound(path: Path) -> None:
    done = calibrate(path, Goal(risk=0.1))
    report = done.calibrated.report.to_json()
    assert report["guarantee"]["bounds"] == "quality_loss"
    assert report["guarantee"]["mean_loss_when_calibrated"] <= 0.1
    assert report["on_test"]["quality_loss"] <= 0.1


def test_a_risk_that_so_few_examples_cannot_show(path: Path) -> None:
    done = calibrate(path, Goal(risk=0.01), chosen=True)
    assert done.calibrated.thresholds[0] == EVERYTHING
    assert done.calibrated.problem is not None
    assert "About 242 such examples would do. That takes about 484 records." in done.calibrated.problem
    guarantee = done.calibrated.report.to_json()["guarantee"]
    assert (guarantee["examples_needed"], guarantee["records_needed"]) == (242, 484)


def test_a_bound_says_for_which_signals_it_does_not_hold(path: Path) -> None:
    sentence = "A signal picked from cascade evaluate's tables of these records needs fresh ones for it to hold."
    assert sentence in calibrate(path, Goal(risk=0.1)).sentences()
    picked = "If cascade choose picked the cascade on these records, calibrate it with --chosen."
    assert picked in calibrate(path, Goal(risk=0.1)).sentences()
    assert picked not in calibrate(path, Goal(risk=0.1), chosen=True).sentences()
    assert sentence not in calibrate(path, Goal(quality=0.65)).sentences()


def without_some_logprobs(path: Path) -> Path:
    """Every third answer of `small`, alone in its tier, has no log-probabilities."""
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
    done = calibrate(path, Goal(rates=(0.0,)))
    report = done.calibrated.report.to_json()
    assert "of the examples have no score and are always deferred" in str(done.calibrated.problem)
    estimate, low, high = report["deferral_rate_when_calibrated"]
    assert low < estimate < high
    bought = calibrate(path, Goal(budget=0.6), output=tmp_path / "out.yaml").calibrated
    assert bought.problem is None
    assert bought.report.to_json()["on_test"]["cost_share"]["flops"] == pytest.approx(0.6, abs=0.1)


def test_label_free_needs_no_references(tmp_path: Path) -> None:
    examples = [replace(example, references=()) for example in questions(300)]
    columns = answers(["small", "tiny", "large"], questions(300))
    path = write_records(tmp_path / "r.jsonl", args(), examples, columns)
    done = calibrate(path, Goal(risk=0.3, label_free=True))
    report = done.calibrated.report.to_json()
    assert report["guarantee"]["bounds"] == "disagreement"
    assert "quality" not in report["on_test"]
    assert any("disagreement with the target, which may itself be wrong" in line for line in done.sentences())
    assert calibrate(path, Goal(budget=0.9)).calibrated.problem is None
    with pytest.raises(DataError, match="has no references"):
        calibrate(path, Goal(quality=0.5))


def test_the_file_can_be_deployed(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.yaml"
    done = calibrate(path, Goal(rates=(0.4,)), output=output)
    assert load(output).thresholds() == {"default": [done.calibrated.thresholds[0]]}
    [entry] = yaml.safe_load(output.read_text())["applications"][0]["deployments"]
    settings = RouterSettings.model_validate(entry["user_config"])
    assert settings.calibrations["default"].id == done.to_json()["id"]
    calibrated = settings.calibrations["default"]
    assert calibrated.report["on_test"] == done.calibrated.report.to_json()["on_test"]
    assert calibrated.agreements is not None
    assert calibrated.agreements.histogram() == done.calibrated.agreements
    assert "counts: [" in output.read_text()  # in one line


def test_the_agreement_of_the_calibrating_examples_is_counted(path: Path) -> None:
    done = calibrate(path, Goal(rates=(0.4,)))
    agreements, [threshold] = done.calibrated.agreements, done.calibrated.thresholds
    report, bins = done.calibrated.report, len(agreements.counts)
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
    shares = [done.calibrated.report.on_test.cost_share["device_s"] for done in (first, second)]
    assert shares[0] != shares[1]
    assert first.id != calibrate(path, Goal(rates=(0.5,))).id
    measured = "The scorer's seconds in them were measured here and now; records hold the models' alone."
    assert measured in first.sentences()


def test_it_goes_into_a_config_and_leaves_the_rest(path: Path, tmp_path: Path) -> None:
    values = args() | {"router": {"keepalive_s": 3}}
    values["cascades"]["other"] = {
        "tiers": [{"models": ["tiny"], "signal": "chow_avg", "threshold": 0}, {"models": ["large"]}]
    }
    config = serving_file(tmp_path / "config.yaml", values)
    before = yaml.safe_load(config.read_text())
    before["applications"][0]["deployments"] = [{"name": "Router", "user_config": {"thresholds": {"other": [-1.0]}}}]
    config.write_text(yaml.safe_dump(before))
    done = calibrate(path, Goal(rates=(0.4,)), config=config, output=tmp_path / "out.yaml")
    after = yaml.safe_load((tmp_path / "out.yaml").read_text())
    assert after["applications"][0]["args"] == before["applications"][0]["args"]
    [entry] = after["applications"][0]["deployments"]
    assert entry["user_config"]["thresholds"] == {"other": [-1.0], "default": [done.calibrated.thresholds[0]]}


def test_a_config_with_another_cascade_is_refused(path: Path, tmp_path: Path) -> None:
    config = serving_file(tmp_path / "config.yaml", args(("tiny", "small")))
    with pytest.raises(ConfigError, match="'default' is not the one in the records"):
        calibrate(path, Goal(rates=(0.4,)), config=config, output=tmp_path / "out.yaml")


def test_a_config_with_another_model_of_that_name_is_refused(path: Path, tmp_path: Path) -> None:
    values = args()
    values["models"]["large"] = {"engine": "llama_cpp", "weights": "hf://me/other/model.gguf", "parameters": 3e9}
    config = serving_file(tmp_path / "config.yaml", values)
    with pytest.raises(ConfigError, match=r"models\.large\.weights is not that of the records"):
        calibrate(path, Goal(rates=(0.4,)), config=config, output=tmp_path / "out.yaml")
    assert not (tmp_path / "out.yaml").exists()


LLAMA = {"engine": "llama_cpp", "weights": "hf://me/it/model.gguf", "parameters": 5e8}
ZSCORES = {name: {"mean": -1.0, "std": 0.5} for name in ("small", "tiny")}
SIGNALS: dict[str, Any] = {
    "sure": {"kind": "chow_avg", "zscores": ZSCORES},
    "bert": {"kind": "sbert", "threads": 1},
    "mixed": {"kind": "mix", "parts": [{"signal": "rouge1"}, {"signal": "chrf"}]},
    "both": {"kind": "blend", "agreement": "mixed", "confidence": "sure"},
}


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A config with signals of its own, and records of it."""
    values = args() | {"signals": SIGNALS}
    values["models"]["small"] = LLAMA
    examples = questions(120)
    columns = answers(["small", "tiny", "large"], examples)
    return values, write_records(tmp_path_factory.mktemp("records") / "records.jsonl", values, examples, columns)


def into(
    signed: tuple[dict[str, Any], Path], output: Path, signal: str, change: dict[str, Any], *, fit: bool = False
) -> CalibrationRun:
    """CalibrationResult by `signal`, into the config of the records with other entries for models or signals."""
    values, path = signed
    served = values | {part: values[part] | entries for part, entries in change.items()}
    config = serving_file(output.with_name("config.yaml"), served)
    return calibrate(path, Goal(budget=0.9), tier_signals=(signal,), fit=fit, config=config, output=output)


@pytest.mark.parametrize(
    ("signal", "change", "message"),
    [
        ("rougeL", {"signals": {"rougeL": {"kind": "bleu"}}}, r"signals\.rougeL\.kind"),
        ("rougeL", {"signals": {"rougeL": {"kind": "rougeL", "stemmer": True}}}, r"signals\.rougeL\.stemmer"),
        ("mixed", {"signals": {"chrf": {"kind": "chrf", "word_order": 2}}}, r"signals\.chrf\.word_order"),
        ("both", {"signals": {"rouge1": {"kind": "rouge1", "stemmer": True}}}, r"signals\.rouge1\.stemmer"),
        ("both", {"signals": {"sure": {"kind": "chow_sum", "zscores": ZSCORES}}}, r"signals\.sure\.kind"),
        ("rougeL", {"models": {"small": LLAMA | {"stop": ["\n"]}}}, r"models\.small\.stop"),
        ("rougeL", {"models": {"small": LLAMA | {"chat_template": "{{ x }}"}}}, r"models\.small\.chat_template"),
        ("rougeL", {"models": {"large": {"engine": "replay", "default": "y"}}}, r"models\.large\.default"),
    ],
)
def test_a_config_where_a_name_means_something_else_is_refused(
    signed: tuple[dict[str, Any], Path], tmp_path: Path, signal: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"{message} is not that of the records"):
        into(signed, tmp_path / "out.yaml", signal, change)
    assert not (tmp_path / "out.yaml").exists()


@pytest.mark.parametrize(
    ("signal", "change"),
    [
        ("rougeL", {"signals": {"bleu": {"kind": "bleu", "lowercase": True}}}),  # judges nothing here
        ("rougeL", {"signals": {"bleurt": {"kind": "bleurt", "device": "cpu"}}}),
        ("sure", {"signals": {"sure": SIGNALS["sure"] | {"zscores": ZSCORES | {"large": ZSCORES["tiny"]}}}}),
        ("rougeL", {"models": {"small": LLAMA | {"slots": 8, "threads": 2, "input_usd": 1}}}),
    ],
)
def test_a_config_that_runs_it_otherwise_is_taken(
    signed: tuple[dict[str, Any], Path], tmp_path: Path, signal: str, change: dict[str, Any]
) -> None:
    assert into(signed, tmp_path / "out.yaml", signal, change).output is not None


def test_what_is_fitted_replaces_what_the_config_has(signed: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    other = {"sure": {"kind": "chow_avg", "zscores": {name: {"mean": 0.0, "std": 1.0} for name in ZSCORES}}}
    assert into(signed, tmp_path / "out.yaml", "sure", {"signals": other}, fit=True).output is not None
    other = {"chrf": {"kind": "chrf", "word_order": 2}}
    with pytest.raises(ConfigError, match=r"signals\.chrf\.word_order is not that of the records"):
        into(signed, tmp_path / "out.yaml", "both", {"signals": other}, fit=True)


def test_a_signal_that_another_cascade_uses_is_not_changed_under_it(path: Path, tmp_path: Path) -> None:
    def served(zscores: dict[str, Any]) -> Path:
        values = args(signal="chow_avg")
        values["signals"] = {"chow_avg": {"kind": "chow_avg", "zscores": zscores}}
        values["cascades"]["other"] = {
            "tiers": [
                {"models": list(zscores), "signal": "chow_avg", "threshold": 0},
                {"models": ["large"]},
            ]
        }
        values["models"]["odd"] = values["models"]["old"] = {"engine": "replay", "default": "x"}
        return serving_file(tmp_path / "config.yaml", values)

    def fitted_into(config: Path) -> CalibrationRun:
        return calibrate(
            path, Goal(rates=(0.4,)), fit=True, tier_signals=("chow_avg",), config=config, output=tmp_path / "out.yaml"
        )

    zscore = {"mean": -1.0, "std": 0.5}
    config = served({"odd": zscore, "old": zscore})
    with pytest.raises(ConfigError, match="no zscores for"):
        load(config)  # for the calibrated cascade there are none yet
    values = yaml.safe_load(config.read_text())
    values["applications"][0]["args"]["cascades"]["default"]["tiers"][0]["signal"] = "rougeL"
    config.write_text(yaml.safe_dump(values))
    fitted_into(config)
    found = load(tmp_path / "out.yaml").application.args.signals["chow_avg"].zscores  # type: ignore[union-attr]
    assert set(found) == {"small", "tiny", "odd", "old"}
    assert found["odd"].model_dump() == zscore

    config = served({"small": zscore, "tiny": zscore})
    before = (tmp_path / "out.yaml").read_bytes()
    with pytest.raises(ConfigError, match="the cascade 'other' uses the signal 'chow_avg', too"):
        fitted_into(config)
    assert (tmp_path / "out.yaml").read_bytes() == before


def test_z_scores_are_fitted_on_examples_of_their_own(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no zscores for small, tiny; --fit measures them"):
        calibrate(path, Goal(rates=(0.4,)), tier_signals=("chow_avg",))
    done = calibrate(path, Goal(rates=(0.4,)), fit=True, tier_signals=("chow_avg",), output=tmp_path / "out.yaml")
    loaded = load(tmp_path / "out.yaml").application.args
    assert loaded.cascades["default"].tiers[0].signal == "chow_avg"
    assert set(loaded.signals["chow_avg"].zscores) == {"small", "tiny"}  # type: ignore[union-attr]
    assert done.calibrated.report.to_json()["deferral_rate_when_calibrated"][0] == pytest.approx(0.4, abs=0.02)
    with pytest.raises(ConfigError, match="'rougeL' has nothing to fit"):
        calibrate(path, Goal(rates=(0.4,)), fit=True)


def test_with_records_of_their_own_for_fitting_all_others_calibrate(path: Path, tmp_path: Path) -> None:
    examples = [replace(example, id=f"fit-{example.id}") for example in questions(200)]
    columns = answers(["small", "tiny", "large"], questions(200), seed=5)
    fit_records = write_records(tmp_path / "fit.jsonl", args(), examples, columns)
    done = calibrate(path, Goal(rates=(0.4,)), fit=True, tier_signals=("chow_avg",), fit_records=fit_records)
    sizes = done.calibrated.report.examples
    assert sizes.calibrate == 400
    assert sizes.choose + sizes.test == 200
    assert abs(sizes.choose - sizes.test) < 40

    fitted_on = load_dataset(Records.load(fit_records), Options(**(OPTIONS | {"tier_signals": ("chow_avg",)})))
    half, _ = fitted_on.parts(np.arange(200), 0.5)
    assert sizes.choose == len(half)
    assert done.fitted == fitted(fitted_on, half)  # by no other example's confidence

    missed = calibrate(path, Goal(risk=0.001), fit_records=fit_records).calibrated.report.guarantee
    assert missed is not None
    assert missed.records_needed == missed.examples_needed  # for all of them calibrate


def test_fit_records_that_are_not_apart_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="400 examples, such as 'Synthetic-0', are among those to calibrate on, too"):
        calibrate(path, Goal(risk=0.1), fit_records=path)
    with pytest.raises(DataError, match="--chosen keeps a part of the records from calibrating"):
        calibrate(path, Goal(risk=0.1), fit_records=path, chosen=True)
    other = records(tmp_path / "other.jsonl", 20, members=("tiny", "odd"))
    with pytest.raises(ConfigError, match=r"other.jsonl: the cascade 'default' is not the one in the records"):
        calibrate(path, Goal(risk=0.1), fit_records=other)


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
    done = calibrate(path, Goal(rates=(0.4,)), fit=True, output=tmp_path / "out.yaml")
    both = load(tmp_path / "out.yaml").application.args.signals["both"]
    assert both == done.fitted["both"]
    assert both.logistic  # type: ignore[union-attr]
    assert both.weights.confidence > 0  # type: ignore[union-attr]
    assert 0 < done.calibrated.thresholds[0] < 1


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
    done = calibrate(path, Goal(budget=2.0), output=tmp_path / "out.yaml")
    points = done.calibrated.exchange
    assert 2 <= len(points) <= 64
    assert [(point.usd, point.quality) for point in points] == sorted((point.usd, point.quality) for point in points)
    [router] = [
        each
        for each in yaml.safe_load((tmp_path / "out.yaml").read_text())["applications"][0]["deployments"]
        if each["name"] == "Router"
    ]
    settings = RouterSettings.model_validate(router["user_config"])
    assert [each.point() for each in settings.calibrations["default"].exchange] == list(points)
    assert any(line.startswith("Exchange rate, for willingness_to_pay_usd:") for line in done.sentences())


def test_without_prices_there_is_no_exchange_rate(path: Path) -> None:
    done = calibrate(path, Goal(rates=(0.4,)))
    assert done.calibrated.exchange == ()
    assert "exchange" not in done.user_config["calibrations"]["default"]
