"""`cascade calibrate` and `cascade choose` on synthetic records of a cascade of three tiers."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import yaml
from rich.console import Console

from serve_app.config import AppConfig
from serve_app.config.serve_file import load
from serve_app.core.protocols import Model
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer
from serve_app.core.types.prompt import Prompt
from serve_app.core.types.scores import Scores
from serve_app.errors import ConfigError, DataError, UsageError
from serve_app.evaluation.analysis.dataset import CALIBRATE, CHOOSE
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.replay import EVERYTHING
from serve_app.evaluation.calibrate.calibrate import scored_tiers
from serve_app.evaluation.calibrate.command import CalibrationRun, run
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.choose import choose as choosing
from serve_app.evaluation.choose import output
from serve_app.evaluation.choose.results import Selection
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.pareto import answered_by
from serve_app.signals import DEFAULT_SIGNALS, build_signal
from tests.cli.in_process import cascade
from tests.evaluation.synthetic import answers, questions, three_tier_records, three_tiers, write_records

OPTIONS = Options(cascades=("default",), signals=(), resamples=100)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_tier_records(tmp_path_factory.mktemp("records") / "records.jsonl", 400)


def calibrate(
    path: Path, goal: Goal, *, fit: bool = False, output: Path | None = None, **options: Any
) -> CalibrationRun:
    return run(Records.load(path), replace(OPTIONS, **options), goal, fit=fit, config=None, output=output)


def shares(path: Path, thresholds: Sequence[float], part: int) -> list[float]:
    """Return the shares of one part of the examples that pass on beyond each tier."""
    dataset = load_dataset(Records.load(path), OPTIONS)
    view, candidates = scored_tiers(dataset)
    index = dataset.parts(view.group.index, CHOOSE, CALIBRATE)[part]
    by = answered_by([candidate.scored.scores[index] for candidate in candidates], thresholds)
    return [float((by > tier).mean()) for tier in range(len(candidates))]


def test_rates_are_shares_of_all_requests(path: Path) -> None:
    result = calibrate(path, Goal(rates=(0.63, 0.3)))
    report = result.calibrated.report.to_json()
    assert shares(path, result.calibrated.thresholds, 1) == pytest.approx([0.63, 0.3], abs=0.02)
    on_test = shares(path, result.calibrated.thresholds, 2)
    assert [share[0] for share in report["on_test"]["passed_on"]] == pytest.approx(on_test)
    assert report["on_test"]["deferral_rate"] == report["on_test"]["passed_on"][0]
    assert report["tiers"] == [
        {"models": ["small", "tiny"], "signal": "rougeL"},
        {"models": ["medium"], "signal": "chow_avg"},
        {"models": ["large"]},
    ]
    lines = list(result.sentences())
    assert lines[:2] == [
        "default: rougeL over small + tiny -> chow_avg over medium -> large",
        "Goal: pass on 63.0% beyond tier 1 and 30.0% beyond tier 2, of all requests.",
    ]
    assert "others it passes on " in lines[3]
    assert result.to_json()["thresholds"] == list(result.calibrated.thresholds)


@dataclass
class Recorded:
    """A model that answers as the records say."""

    column: dict[str | None, Answer]

    async def generate(self, prompt: Prompt) -> Answer:
        return self.column[prompt.text]


class RougeL:
    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        assert signal == "rougeL"
        return build_signal(DEFAULT_SIGNALS["rougeL"]).similarities([texts])[0]


@pytest.mark.parametrize("goal", [Goal(rates=(0.63, 0.3)), Goal(budget=0.8), Goal(risk=0.15)], ids=str)
def test_a_server_with_the_written_thresholds_does_what_was_reported(path: Path, tmp_path: Path, goal: Goal) -> None:
    """The decision core with the file's tiers, on the test examples, one after another."""
    result = calibrate(path, goal, output=tmp_path / "out.yaml")
    served = load(tmp_path / "out.yaml")
    assert served.thresholds() == {"default": list(result.calibrated.thresholds)}
    records = Records.load(path)
    *_, test = load_dataset(records, OPTIONS).parts(np.arange(400), CHOOSE, CALIBRATE)
    ids = [records.examples[row].id for row in test]
    models = {
        name: Recorded({records.examples[row].id: answer for row in test if (answer := column[row])})
        for name, column in records.answers.items()
    }
    tiers = served.application.args.tiers("default", served.thresholds()["default"])

    async def ask(id_: str) -> int:
        request = Run(Prompt(text=id_), tiers, cast("dict[str, Model]", models), RougeL())
        return len((await run_cascade(request)).tiers)

    async def ask_all() -> list[int]:
        return [await ask(id_) for id_ in ids]

    tier_counts = np.array(asyncio.run(ask_all()))
    on_test = result.calibrated.report.to_json()["on_test"]
    assert [share[0] for share in on_test["passed_on"]] == pytest.approx(
        [(tier_counts > 1).mean(), (tier_counts > 2).mean()]
    )


def test_a_budget_buys_the_best_quality_or_without_references_the_most_deferral(path: Path, tmp_path: Path) -> None:
    best = calibrate(path, Goal(budget=0.6)).calibrated
    assert best.problem is None
    assert best.report.to_json()["on_test"]["cost_share"]["flops"] == pytest.approx(0.6, abs=0.1)
    examples = questions(400)
    columns = answers(["small", "tiny", "medium", "large"], examples)
    unlabelled = [replace(example, references=()) for example in examples]
    blind = write_records(tmp_path / "r.jsonl", three_tiers(), unlabelled, columns)
    even = calibrate(blind, Goal(budget=0.6)).calibrated
    assert even.problem is None
    assert even.report.to_json()["on_test"]["cost_share"]["flops"] == pytest.approx(0.6, abs=0.1)
    assert even.thresholds != best.thresholds
    with pytest.raises(DataError, match="has no references"):
        calibrate(blind, Goal(quality=0.5))


def test_a_latency_budget_and_whose_latencies_they_are(path: Path) -> None:
    result = calibrate(path, Goal(budget=1.8, unit="latency_s"))
    assert result.calibrated.problem is None
    assert result.calibrated.report.to_json()["on_test"]["cost_share"]["latency_s"] == pytest.approx(1.8, abs=0.15)
    assert "Latencies are those of collecting: of its machine, and under its --concurrency." in result.sentences()
    assert not any("Latencies" in line for line in calibrate(path, Goal(budget=0.9)).sentences())
    problem = calibrate(path, Goal(budget=0.5, unit="latency_s")).calibrated.problem
    assert problem is not None
    assert "the least that thresholds can cost" in problem


def test_a_quality_and_a_risk(path: Path) -> None:
    assert calibrate(path, Goal(quality=0.7)).calibrated.report.to_json()["on_test"]["quality"][0] > 0.6
    report = calibrate(path, Goal(risk=0.15)).calibrated.report.to_json()
    assert report["guarantee"]["mean_loss_when_calibrated"] <= 0.15
    assert report["on_test"]["quality_loss"] <= 0.15
    missed = calibrate(path, Goal(risk=0.005)).calibrated
    assert missed.thresholds == (EVERYTHING, EVERYTHING)
    assert "already the strictest thresholds" in str(missed.problem)


def test_label_free_compares_by_the_first_signal_that_can(path: Path) -> None:
    report = calibrate(path, Goal(risk=0.4, label_free=True)).calibrated.report.to_json()
    assert report["guarantee"]["bounds"] == "disagreement"
    with pytest.raises(ConfigError, match="which 'chow_avg' alone cannot do"):
        calibrate(path, Goal(risk=0.4, label_free=True), fit=True, tier_signals=("chow_avg", "chow_avg"))


@pytest.mark.parametrize("rates", [(0.5,), (0.5, 0.4, 0.3)])
def test_a_rate_for_each_tier(path: Path, rates: tuple[float, ...]) -> None:
    sentence = (
        "--deferral-rate: this cascade needs 2 shares, one for each tier but the target, as in "
        f"--deferral-rate 0.5 --deferral-rate 0.25; got {len(rates)}."
    )
    with pytest.raises(ConfigError) as error:
        calibrate(path, Goal(rates=rates))
    assert str(error.value) == sentence


def test_shares_that_rise_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--deferral-rate 0.2 then 0.5: of all requests no more can pass"):
        Goal(rates=(0.2, 0.5))


def test_signals_of_all_tiers(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--signal: 'default' needs one for each tier but the target, 2 in all"):
        calibrate(path, Goal(rates=(0.63, 0.3)), tier_signals=("exact",))
    result = calibrate(
        path, Goal(rates=(0.63, 0.3)), fit=True, tier_signals=("chow_avg", "chow_avg"), output=tmp_path / "out.yaml"
    )
    loaded = load(tmp_path / "out.yaml").application.args
    assert [tier.signal for tier in loaded.cascades["default"].tiers[:-1]] == ["chow_avg", "chow_avg"]
    assert set(loaded.signals["chow_avg"].zscores) == {"small", "tiny", "medium"}  # type: ignore[union-attr]
    assert shares(path, result.calibrated.thresholds, 1) != []
    result = calibrate(path, Goal(rates=(0.63, 0.3)), fit=True)  # agreement has nothing to fit, the second tier has
    assert list(result.fitted) == ["chow_avg"]


def test_one_blend_of_two_tiers_is_not_fitted(tmp_path: Path) -> None:
    values = three_tiers()
    values["models"]["odd"] = values["models"]["medium"]
    values["cascades"]["default"]["tiers"][1]["models"] = ["medium", "odd"]
    zscores = {name: {"mean": 0, "std": 1} for name in ("small", "tiny", "medium", "odd")}
    values["signals"] = {
        "sure": {"kind": "chow_avg", "zscores": zscores},
        "both": {"kind": "blend", "agreement": "rougeL", "confidence": "sure"},
    }
    for tier in values["cascades"]["default"]["tiers"][:2]:
        tier["signal"] = "both"
    examples = questions(50)
    columns = answers(["small", "tiny", "medium", "odd", "large"], examples)
    records = write_records(tmp_path / "r.jsonl", values, examples, columns)
    with pytest.raises(ConfigError, match="'both' judges several tiers, whose weights differ: define a blend for each"):
        calibrate(records, Goal(rates=(0.63, 0.3)), fit=True)


def test_a_target_alone_has_no_threshold(tmp_path: Path) -> None:
    values = three_tiers()
    values["cascades"]["alone"] = {"tiers": [{"models": ["large"]}]}
    examples = questions(50)
    columns = answers(["small", "tiny", "medium", "large"], examples)
    records = write_records(tmp_path / "r.jsonl", values, examples, columns)
    with pytest.raises(UsageError, match="'alone' has one tier, which always answers: there is no threshold to find"):
        calibrate(records, Goal(rates=(0.5,)), cascades=("alone",))


def choose(path: Path, budget: float | None, unit: Any = None, **only: Any) -> Selection:
    records = Records.load(path)
    tiers, target = choosing.tiers(records, only.get("members"), only.get("target"))
    return choosing.find(load_dataset(records, Options(tiers=tiers, target=target, signals=("rougeL",))), budget, unit)


def test_tiers_to_choose_from(path: Path) -> None:
    records = Records.load(path)
    assert choosing.tiers(records, None, None) == ((("small", "tiny"), ("medium",)), "large")
    assert choosing.tiers(records, ("medium", "tiny"), None) == ((("tiny",), ("medium",)), "large")
    assert choosing.tiers(records, ("medium",), None) == ((("medium",),), "large")
    assert choosing.tiers(records, None, "medium") == ((("small", "tiny", "large"),), "medium")
    with pytest.raises(UsageError, match=r"No tier before the target has a member 'mediun'\. Did you mean 'medium'"):
        choosing.tiers(records, ("mediun",), None)


def test_a_choice_among_tiers(path: Path) -> None:
    selection = choose(path, 0.7)
    assert selection.best is not None
    assert selection.best in selection.front
    assert selection.best.when_chosen.cost <= 0.7
    costs = [cascade.when_chosen.cost for cascade in selection.front]
    assert costs == sorted(costs)
    members = {tier.models for cascade in selection.front for tier in cascade.tiers}
    assert members <= {("small",), ("tiny",), ("small", "tiny"), ("medium",)}
    # What is shown is a config, with the z-scores that its thresholds are about.
    deepest = max(selection.front, key=lambda cascade: len(cascade.tiers))
    shown = yaml.safe_load(output.snippet(deepest))
    config = AppConfig.model_validate(
        {
            "models": three_tiers()["models"],
            "signals": shown.get("signals", {}),
            "cascades": {"default": {"tiers": shown["tiers"]}},
        }
    )
    assert config.thresholds() == {"default": [tier.threshold for tier in deepest.tiers]}
    measured = [model for tier in deepest.tiers if tier.signal == "chow_avg" for model in tier.models]
    assert list(shown.get("signals", {}).get("chow_avg", {}).get("zscores", [])) == measured


def test_a_choice_by_latency_says_whose_latencies_they_are(path: Path) -> None:
    shown = StringIO()
    selection = choose(path, 1.5, "latency_s")
    output.render(selection, Console(file=shown, width=200))
    assert "Latencies are those of collecting" in shown.getvalue()
    assert {1, 2} <= {len(cascade.tiers) for cascade in selection.front}  # a tier may be left out


def test_too_many_combinations_say_how_to_cut_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "MOST_CASCADES", 20)
    with pytest.raises(UsageError) as error:
        choose(path, 0.7)
    # Tier 1: none, two signals of each member, three of both; tier 2: none, two signals.
    assert str(error.value) == (
        "24 combinations of members and signals are too many, up to 20 are tried: name fewer of the models with "
        "--members, or fewer signals with --signals."
    )
    assert choose(path, 0.7, members=("small", "medium")).best is not None


def test_as_a_user_runs_them(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.yaml"
    result = cascade("calibrate", path, "--deferral-rate", "0.63", "--deferral-rate", "0.3", "-o", output, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    body = json.loads(result.stdout)
    assert load(output).thresholds() == {"default": body["thresholds"]}
    assert len(body["thresholds"]) == 2
    result = cascade("calibrate", path, "--deferral-rate", "0.6")
    assert result.exit_code == 2
    assert result.stderr.startswith("cascade: --deferral-rate: this cascade needs 2 shares")
    result = cascade("choose", path, "--budget", "1.5", "--unit", "latency_s", "--signals", "rougeL")
    assert result.exit_code == 0, result.stderr
    assert "tiers:" in result.stdout
