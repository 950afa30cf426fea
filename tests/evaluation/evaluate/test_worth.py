"""What a correct answer's worth pays for, on records."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from serve_app.cli.commands import app
from serve_app.errors import UsageError
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.evaluate.tables import tables
from serve_app.evaluation.evaluate.worth import WorthResult, worth
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import answers, args, questions, write_records

PRICES = {"small": 1e3, "tiny": 1e2, "large": 1e5}


def values(**prices: float) -> dict[str, Any]:
    config = args(signal="rougeL")
    for name, price in prices.items():
        config["models"][name] |= {"input_usd": 0.0, "output_usd": price}
    return config


def view_of(folder: Path, config: dict[str, Any], count: int = 200) -> CascadeView:
    examples = questions(count)
    path = write_records(folder / "records.jsonl", config, examples, answers(["small", "tiny", "large"], examples))
    dataset = load_dataset(Records.load(path), Options(signals=("rougeL",), resamples=10, processes=1))
    [group] = dataset.groups
    return CascadeView(dataset, group, "default", *dataset.parts(group.index, dataset.options.fit))


def brute_force(view: CascadeView, willingness: float) -> float:
    """Return the least cost and loss of any threshold on the fit examples, by plain loops."""
    scored = view.dataset.replay.score(view.tiers[0], None, view.group.index)
    members = [view.cost(model)["usd"] for model in view.tiers[0].models]
    target_usd, target = view.cost(view.target)["usd"], view.quality(view.target)
    selected = scored.take(view.qualities(view.tiers[0].models))
    losses = []
    for threshold in (*np.unique(scored.scores[~np.isnan(scored.scores)]), 2.0):
        total = 0.0
        for k in view.fit:
            accepted = scored.scores[k] >= threshold
            usd = sum(member[k] for member in members) + (0 if accepted else target_usd[k])
            total += usd + willingness * (1 - (selected[k] if accepted else target[k]))
        losses.append(total / len(view.fit))
    return min(losses)


def on_fit(view: CascadeView, result: WorthResult) -> float:
    swapped = CascadeView(view.dataset, view.group, view.id, view.fit, view.fit)
    [same] = worth(swapped, [result.willingness_usd])
    assert same.thresholds == result.thresholds
    return same.loss_usd


@pytest.mark.parametrize("willingness", [0.01, 1.0, 30.0])
def test_no_threshold_would_have_cost_and_lost_less_on_the_examples_it_was_chosen_on(
    tmp_path: Path, willingness: float
) -> None:
    view = view_of(tmp_path, values(**PRICES))
    [result] = worth(view, [willingness])
    assert on_fit(view, result) == pytest.approx(brute_force(view, willingness))
    assert result.loss_usd == pytest.approx(result.usd + willingness * (1 - result.quality))


def test_a_higher_worth_pays_for_more_quality_and_is_shown(tmp_path: Path) -> None:
    view = view_of(tmp_path, values(**PRICES), 60)
    [group] = evaluate(view.dataset, willingness_usd=[0.001, 100.0]).groups
    [cascade] = group.cascades
    low, high = cascade.worth
    assert (low.deferred, low.usd) < (high.deferred, high.usd)
    assert low.quality < high.quality
    assert [result["willingness_usd"] for result in cascade.to_json()["worth"]] == [0.001, 100.0]
    shown = next(table for table in tables(group, cascade) if table.title == "Willingness to pay")
    assert [row[0] for row in shown.rows] == ["0.001", "100"]


def test_models_without_prices_are_refused(tmp_path: Path) -> None:
    view = view_of(tmp_path, values(small=1.0, tiny=1.0), 30)
    with pytest.raises(UsageError, match="--willingness-to-pay-usd: a model of 'default' has no price in US dollars"):
        worth(view, [1.0])
    assert worth(view, []) == ()


@pytest.mark.parametrize("worth_usd", ["0", "-1"])
def test_the_worth_is_a_number_above_0(tmp_path: Path, worth_usd: str) -> None:
    path = write_records(tmp_path / "records.jsonl", values(), questions(3), {})
    result = CliRunner().invoke(app, ["evaluate", str(path), f"--willingness-to-pay-usd={worth_usd}"])
    assert result.exit_code == 2
    assert f"--willingness-to-pay-usd: must be a number of US dollars above 0, got {worth_usd}." in result.output
