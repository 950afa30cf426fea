"""Remedies off and on: which ways are tried, and that exact ones change no decision."""

from dataclasses import replace
from io import StringIO
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from serve_app.core.types.answer import Generation
from serve_app.errors import UsageError
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.evaluate.remedies.judge import judge
from serve_app.evaluation.evaluate.remedies.results import Remedies
from serve_app.evaluation.evaluate.terminal import render
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import answers, args, questions, write_records

QUICK = Options(signals=("exact",), resamples=10, processes=1)
MEMBERS = ("small", "tiny", "odd")
ALONE_OFF = "as configured, without remedies"


def priced(members: tuple[str, ...] = MEMBERS, **cascade: Any) -> dict[str, Any]:
    values = args(members, signal="exact", threshold=0.4)
    for model in values["models"].values():
        model |= {"input_usd": 1.0, "output_usd": 1.0}
    values["cascades"]["default"] |= cascade
    return values


def ladder() -> dict[str, Any]:
    """Return a config with one member by its confidence, then three by agreement."""
    values = priced()
    alone = {"models": ["small"], "signal": "chow_avg", "threshold": -0.3}
    values["cascades"]["default"]["tiers"].insert(0, alone)
    return values


def records_of(folder: Path, values: dict[str, Any], count: int = 24, **options: Any) -> Records:
    examples = questions(count)
    columns = answers(list(values["models"]), examples)
    if options:
        columns["large"] = [
            replace(answer, **options) if isinstance(answer, Generation) else answer for answer in columns["large"]
        ]
    return Records.load(write_records(folder / "records.jsonl", values, examples, columns))


def remedies_of(records: Records) -> Remedies:
    return judge(view_of(load_dataset(records, QUICK)))


def view_of(dataset: Dataset) -> CascadeView:
    [group] = dataset.groups
    return CascadeView(dataset, group, "default", *dataset.parts(group.index, dataset.options.fit))


def names(remedies: Remedies) -> list[str]:
    return [row.name.partition(" {")[0] for row in remedies.rows]


SPECULATED = ["speculate: always", "speculate:", "speculate:", "speculate:"]


def test_the_cascade_as_configured_stands_beside_each_remedy_changed(tmp_path: Path) -> None:
    remedies = remedies_of(records_of(tmp_path, ladder()))
    assert names(remedies) == [
        "without remedies",
        "as configured",
        "early: decision",
        "no carried answers",
        *SPECULATED,
    ]


def test_a_cascade_without_remedies_is_its_own_comparison(tmp_path: Path) -> None:
    """Of two members no early decision is possible."""
    remedies = remedies_of(records_of(tmp_path, priced(("small", "tiny"))))
    assert names(remedies) == [ALONE_OFF, *SPECULATED]


def test_a_configured_rule_is_compared_with_off_and_the_others(tmp_path: Path) -> None:
    values = priced(("small", "tiny"), speculate={"when": "adaptive", "second_usd": 0.5})
    remedies = remedies_of(records_of(tmp_path, values))
    assert names(remedies) == ["without remedies", "as configured", *SPECULATED[:-1]]


def test_what_bills_stopped_calls_or_has_no_price_is_not_asked_ahead(tmp_path: Path) -> None:
    values = args(("small", "tiny"), signal="exact", threshold=0.4)
    notes = remedies_of(records_of(tmp_path, values)).notes
    assert len(notes) == 1
    assert notes[0].endswith("adaptive weighs costs, and 'large' has no price.")


@pytest.mark.parametrize("values", [priced(), ladder()], ids=["three members", "ladder"])
def test_exact_remedies_change_no_decision_and_no_answer(tmp_path: Path, values: dict[str, Any]) -> None:
    remedies = remedies_of(records_of(tmp_path, values, 75))
    plain = remedies.rows[0]
    assert 0.2 < plain.to_target < 0.9
    assert {row.to_target for row in remedies.rows} == {plain.to_target}
    assert {row.changed for row in remedies.rows if row.name != "early: decision"} == {0}
    assert {row.quality for row in remedies.rows if row.name != "early: decision"} == {plain.quality}


def test_they_defer_what_the_replay_of_the_records_defers(tmp_path: Path) -> None:
    view = view_of(load_dataset(records_of(tmp_path, priced(), 75), QUICK))
    decisions = view.dataset.replay.decisions(view.tiers[0], index=view.test)
    expected = np.mean([not decision.accepted for decision in decisions])
    assert judge(view).rows[0].to_target == pytest.approx(expected)


def test_waste_is_part_of_the_cost_and_nothing_else_changes_it(tmp_path: Path) -> None:
    remedies = remedies_of(records_of(tmp_path, priced(("small", "tiny"))))
    plain, always = remedies.rows[:2]
    for unit in ("flops", "usd"):
        assert always.cost[unit] == pytest.approx(plain.cost[unit] + always.wasted[unit], rel=1e-3)
        assert always.wasted[unit] > 0
    assert always.mean_s < plain.mean_s


def test_records_without_latencies_are_refused_by_the_models_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--remedies: the records have no latencies of large, .* cascade collect"):
        remedies_of(records_of(tmp_path, priced(), latency_s=nan))


def test_they_are_part_of_the_result_and_of_the_page_if_asked_for(tmp_path: Path) -> None:
    dataset = load_dataset(records_of(tmp_path, priced(("small", "tiny"))), QUICK)
    evaluation = evaluate(dataset, remedies=True)
    body = evaluation.to_json()["groups"][0]["cascades"][0]["remedies"]
    assert body["requests"] + body["warm_up"] == 24
    assert body["target_alone"]["cost"].keys() == {"flops", "usd", "device_s"}
    console = Console(width=200, record=True, file=StringIO())
    render(evaluation, console)
    printed = console.export_text().partition("Remedies")[2]
    assert "dollars" in printed.partition("large alone")[0]
    assert "speculate: always" in printed


def test_nothing_is_served_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.evaluation.analysis.timing.requests.run_cascade", None)
    dataset = load_dataset(records_of(tmp_path, priced(("small", "tiny")), 30), QUICK)
    assert "remedies" not in evaluate(dataset).to_json()["groups"][0]["cascades"][0]
