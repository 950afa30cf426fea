"""`cascade choose` on synthetic records of one tier, and what it may not share with `cascade calibrate`."""

import random
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from serve_app.core.types.answer import Answer, Generation, TokenLogprob
from serve_app.errors import DataError
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.calibrate import calibrate as calibration
from serve_app.evaluation.calibrate.command import run
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.choose import choose as choosing
from serve_app.evaluation.choose.output import render, snippet
from serve_app.evaluation.choose.results import Selection
from serve_app.evaluation.records.file import Records
from tests.cli.in_process import cascade
from tests.evaluation.synthetic import answers, args, questions, records, write_records


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return records(tmp_path_factory.mktemp("records") / "records.jsonl", 300)


def choose(path: Path, budget: float | None = None, **options: Any) -> Selection:
    loaded = Records.load(path)
    tiers, target = choosing.tiers(loaded, options.pop("members", None), options.pop("target", None))
    return choosing.find(load_dataset(loaded, Options(tiers=tiers, target=target, **options)), budget)


@pytest.mark.parametrize("signal", ["exact", "chrf", "chow_avg"])
def test_any_signals_alone(path: Path, signal: str) -> None:
    selection = choose(path, 0.8, signals=(signal,))
    assert selection.unit == "flops"
    assert {tier.signal for cascade in selection.front for tier in cascade.tiers} <= {signal, "chow_sum", "chow_avg"}
    assert selection.best in selection.front


@pytest.mark.parametrize("seed", range(4))
def test_it_shares_no_example_with_what_a_calibration_is_found_on(
    path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples_used: list[Any] = []

    def chosen(candidates: Any, alone: Any, parts: Any, choose: Any = choosing.choose) -> Any:
        examples_used.extend(parts)
        return choose(candidates, alone, parts)

    def spy(view: Any, candidates: Any, goal: Goal, *parts: Any, thresholds: Any = calibration._thresholds) -> Any:
        examples_used.extend(parts)
        return thresholds(view, candidates, goal, *parts)

    monkeypatch.setattr(choosing, "choose", chosen)
    monkeypatch.setattr(calibration, "_thresholds", spy)
    choose(path, signals=("rougeL",), seed=seed)
    options = Options(cascades=("default",), signals=(), resamples=100, seed=seed)
    result = run(Records.load(path), options, Goal(risk=0.2), fit=False, config=None, output=None, chosen=True)
    tuning, reported, to_choose, to_calibrate = (set(part.tolist()) for part in examples_used)
    assert tuning == to_choose
    assert len(to_calibrate) > 100
    assert not (tuning | reported) & to_calibrate
    assert not tuning & reported
    assert len(reported) == result.calibrated.report.to_json()["examples"]["test"]


def test_too_few_examples(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 examples are too few to choose on a quarter and report on another"):
        choose(records(tmp_path / "r.jsonl", 3))


def test_an_answer_without_log_probabilities_counts_as_deferred(tmp_path: Path) -> None:
    """As the threshold that is shown does it."""
    examples = questions(300)
    columns = answers(["small", "large"], examples)
    columns["small"] = [
        Generation("x", "stop", 10, 1, None, 0.2) if k % 3 == 0 else answer for k, answer in enumerate(columns["small"])
    ]
    path = write_records(tmp_path / "r.jsonl", args(("small",), signal="chow_avg", threshold=-0.5), examples, columns)
    front = choose(path).front
    assert min(cascade.rate for cascade in front if cascade.rate is not None) > 0.25


def test_models_alone_are_on_the_front(path: Path) -> None:
    selection = choose(path, signals=("rougeL",))
    cheapest = selection.front[0]
    assert (cheapest.tiers, cheapest.target, cheapest.rate, cheapest.gain) == ((), "tiny", None, None)
    assert yaml.safe_load(snippet(cheapest)) == {"tiers": [{"models": ["tiny"]}]}
    assert cheapest.quality.low < cheapest.quality.estimate < cheapest.quality.high
    assert "models:tiny|" in cheapest.signature
    # Whatever is above it has a gain over the best model alone that costs no more.
    gains = [cascade.gain for cascade in selection.front if cascade.tiers]
    assert {gain.model for gain in gains if gain} == {"tiny", "small"}
    assert selection.instead is None
    assert "Do not cascade" not in shown(selection)


def records_of(path: Path, right: dict[str, float], count: int = 300) -> Path:
    """Write records in which each model is right on its share of the questions, independently of the other models."""
    examples = questions(count)
    draw = random.Random(1)
    columns: dict[str, list[Answer]] = {
        model: [
            Generation(
                example.references[0] if draw.random() < share else f"{model} errs",
                "stop",
                10,
                3,
                tuple(TokenLogprob(token, -draw.random()) for token in ("a", " b", " c")),
                0.1,
            )
            for example in examples
        ]
        for model, share in right.items()
    }
    return write_records(path, args(), examples, columns)


@pytest.mark.parametrize("budget", [None, 0.5])
def test_a_member_that_is_as_good_for_less_answers_alone(tmp_path: Path, budget: float | None) -> None:
    path = records_of(tmp_path / "r.jsonl", {"small": 1.0, "tiny": 0.3, "large": 0.9})
    selection = choose(path, budget, signals=("rougeL",))
    assert selection.instead is not None
    assert (selection.instead.tiers, selection.instead.target, selection.instead.quality.estimate) == ((), "small", 1.0)
    assert selection.to_json()["do_not_cascade"]["target"] == "small"
    reason = (
        "No cascade is shown to be better, and those that cost less are worse."
        if budget is None
        else "Nothing within the budget was better."
    )
    sentence = "small alone has a quality of 1.0000 [1.0000, 1.0000] for 16.7% of the target's flops."
    assert f"Do not cascade: {sentence} {reason}" in shown(selection)
    assert "cascade calibrate" not in shown(selection)  # there is no threshold


@pytest.mark.parametrize(("budget", "model", "cost"), [(2.0, "small", 1.0), (None, "large", 6.0)])
def test_members_that_cost_more_than_the_target_are_no_cascade(
    tmp_path: Path, budget: float | None, model: str, cost: float
) -> None:
    path = records_of(tmp_path / "r.jsonl", {"small": 0.5, "tiny": 0.3, "large": 0.9})
    selection = choose(path, budget, members=("large",), target="small", signals=("rougeL",))
    assert selection.instead is not None
    assert (selection.instead.target, selection.instead.cost) == (model, pytest.approx(cost))


def test_a_gain_by_luck_is_no_reason_to_cascade(tmp_path: Path) -> None:
    """The members know nothing of each other, and the target is no better than the small one: choosing finds luck."""
    path = records_of(tmp_path / "r.jsonl", {"small": 0.7, "tiny": 0.3, "large": 0.7}, 240)
    selection = choose(path, 0.6, signals=("rougeL", "exact"))
    assert selection.best is not None
    assert selection.best.gain is not None  # of the tuning examples it was the best
    assert selection.best.gain.model == "small"
    assert selection.best.gain.difference.low <= 0
    assert selection.instead is not None
    assert selection.instead.target == "small"
    text = shown(selection)
    difference = selection.best.gain.difference
    assert f"{difference.estimate:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}] in comparison" in text
    assert "which shows no gain. More examples might show one." in text
    assert "tiers:" in text  # of the best cascade, for those who still want one


def test_do_not_cascade_is_an_answer(tmp_path: Path) -> None:
    path = records_of(tmp_path / "r.jsonl", {"small": 1.0, "tiny": 0.3, "large": 0.9}, 60)
    result = cascade("choose", path, "--budget", "0.5", "--signals", "exact")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Do not cascade: small alone has a quality of 1.0000" in result.stdout


def shown(selection: Selection) -> str:
    text = StringIO()
    render(selection, Console(file=text, width=300))
    return text.getvalue()


def test_the_table_fits_100_columns(path: Path) -> None:
    text = StringIO()
    render(choose(path, 0.8, signals=("rougeL", "exact")), Console(file=text, width=100))
    table = text.getvalue().partition("Chosen on")[0].splitlines()
    assert max(map(len, table)) <= 100
    for cells in (r"small \+ tiny +\w+ +[-\d.e+]+", r"tiny -> small \+ tiny +chow_\w+ -> \w+ +[-\d.e+]+, [-\d.e+]+"):
        assert any(re.match(cells + r" +\d+\.\d% +0\.\d{4} +[+-]0\.\d{4}", line) for line in table)
    assert any(re.fullmatch(r" +\[[+-]0\.\d{4}, [+-]0\.\d{4}\] *", line) for line in table)


def test_a_chosen_tier_keeps_the_view_of_its_members(tmp_path: Path) -> None:
    examples, values = questions(120), args()
    values["cascades"]["default"]["tiers"][0]["compare"] = {"normalise": ["case"]}
    columns = answers(["small", "tiny", "large"], examples)
    columns["tiny"] = columns["small"] = [
        replace(answer, logprobs=None) if isinstance(answer, Generation) else answer for answer in columns["large"]
    ]
    file = write_records(tmp_path / "r.jsonl", values, examples, columns)
    tiers = [tier.to_config() for cascade in choose(file, signals=("exact",)).front for tier in cascade.tiers]
    assert tiers
    assert all(tier["compare"] == {"normalise": ["case"]} for tier in tiers)
