"""`cascade choose` on synthetic records of one tier, and what it may not share with `cascade calibrate`."""

from pathlib import Path
from typing import Any

import pytest

from serve_app.core.types import Generation
from serve_app.errors import DataError
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.calibrate import calibrate as calibration
from serve_app.evaluation.calibrate.command import run
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.choose import choose as choosing
from serve_app.evaluation.choose.results import Selection
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import answers, args, questions, records, write_records


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return records(tmp_path_factory.mktemp("records") / "records.jsonl", 300)


def choose(path: Path, budget: float | None = None, **options: Any) -> Selection:
    loaded = Records.load(path)
    tiers, target = choosing.tiers(loaded, options.pop("members", None), None)
    return choosing.find(load_dataset(loaded, Options(tiers=tiers, target=target, **options)), budget)


@pytest.mark.parametrize("signal", ["exact", "chrf", "chow_avg"])
def test_any_signals_alone(path: Path, signal: str) -> None:
    found = choose(path, 0.8, signals=(signal,))
    assert found.unit == "flops"
    assert {tier.signal for cascade in found.front for tier in cascade.tiers} <= {signal, "chow_sum", "chow_avg"}
    assert found.best in found.front


@pytest.mark.parametrize("seed", range(4))
def test_it_shares_no_example_with_what_a_calibration_is_found_on(
    path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def chosen(candidates: Any, target: Any, parts: Any, choose: Any = choosing.choose) -> Any:
        seen.extend(parts)
        return choose(candidates, target, parts)

    def found(view: Any, candidates: Any, goal: Goal, *parts: Any, found: Any = calibration._thresholds) -> Any:
        seen.extend(parts)
        return found(view, candidates, goal, *parts)

    monkeypatch.setattr(choosing, "choose", chosen)
    monkeypatch.setattr(calibration, "_thresholds", found)
    choose(path, signals=("rougeL",), seed=seed)
    options = Options(cascades=("default",), signals=(), resamples=100, seed=seed)
    done = run(Records.load(path), options, Goal(risk=0.2), fit=False, config=None, output=None)
    tuning, reported, to_choose, to_calibrate = (set(part.tolist()) for part in seen)
    assert tuning == to_choose
    assert len(to_calibrate) > 100
    assert not (tuning | reported) & to_calibrate
    assert not tuning & reported
    assert len(reported) == done.calibrated.report.to_json()["examples"]["test"]


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
    assert min(cascade.rate for cascade in front) > 0.25
