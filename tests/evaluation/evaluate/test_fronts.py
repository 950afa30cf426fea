"""Pareto fronts of cascades of any number of tiers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serve_app.evaluation.analysis.candidates import semantic
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.evaluate.fronts import front
from serve_app.evaluation.evaluate.tables import tables
from tests.evaluation.evaluate.evaluating import load, only
from tests.evaluation.synthetic import answers, args, questions, three_tier_records, write_records


def test_more_than_two_tiers_have_a_front(tmp_path: Path) -> None:
    values = args(("small", "tiny"))
    values["models"]["odd"] = {"engine": "replay", "default": "x", "parameters": 3e8}
    values["models"]["middle"] = {"engine": "replay", "default": "x", "parameters": 1e9}
    second = {"models": ["odd", "middle"], "signal": "exact", "threshold": 0.5}
    values["cascades"]["default"]["tiers"].insert(1, second)
    examples = questions(120)
    columns = answers(["small", "tiny", "odd", "large"], examples)
    columns["middle"] = answers(["large"], examples, seed=5)["large"]
    cascade = only(evaluate(load(write_records(tmp_path / "r.jsonl", values, examples, columns))))
    points = cascade["front"]["points"]
    assert cascade["front"]["unit"] == "flops"
    assert {len(point["thresholds"]) for point in points if point["signal"]} == {2}
    chosen = [point["quality_when_chosen"] for point in points]
    assert chosen == sorted(chosen)
    assert np.all(np.diff([point["cost"] for point in points]) > -0.2)
    assert all((point["alone"] is None) == bool(point["thresholds"]) for point in points)
    assert all((point["rate"] is None) == (point["alone"] is not None) for point in points)
    assert points[0]["alone"] == "tiny"
    worse = [point["worse"] for point in points if point["thresholds"]]
    assert all(share is None or share[1] <= share[0] <= share[2] for share in worse)
    assert max(share[0] for share in worse if share) > 0


def test_a_model_alone_defers_nothing(tmp_path: Path) -> None:
    evaluation = evaluate(load(three_tier_records(tmp_path / "r.jsonl")))
    [cascade] = evaluation.groups[-1].cascades
    [table] = (table for table in tables(evaluation.groups[-1], cascade) if table.title == "Pareto front")
    deferred = table.header.index("first tier defers")
    alone = [row for row in table.rows if row[0].endswith(" alone")]
    assert alone
    assert {row[deferred] for row in alone} == {""}


def test_a_tier_of_one_member_is_judged_by_its_own_signal_in_a_front(tmp_path: Path) -> None:
    cascade = only(evaluate(load(three_tier_records(tmp_path / "r.jsonl"))))
    signals = {point["signal"] for point in cascade["front"]["points"] if point["thresholds"]}
    assert signals
    assert signals <= {"rougeL -> chow_avg", "exact -> chow_avg"}


def test_a_front_leaves_out_signals_of_unknown_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load(three_tier_records(tmp_path / "r.jsonl"))
    similarities = dataset.replay.similarities[None]
    monkeypatch.setitem(similarities, "exact", replace(similarities["exact"], flops=None))
    [group] = dataset.groups
    everything = np.arange(len(dataset))
    body = front(CascadeView(dataset, group, "default", everything, everything)).to_json()
    assert body["unit"] == "flops"
    assert {point["signal"] for point in body["points"] if point["thresholds"]} == {"rougeL -> chow_avg"}


def test_a_front_is_of_the_tiers_own_agreement(tmp_path: Path) -> None:
    """Of three members the maximum and the mean defer differently."""
    values = args(("small", "tiny", "odd"))
    values["models"]["middle"] = {"engine": "replay", "default": "x", "parameters": 1e9}
    values["cascades"]["default"]["tiers"].insert(1, {"models": ["middle"], "signal": "chow_avg", "threshold": -0.5})
    examples = questions(150)
    columns = answers(["small", "tiny", "odd", "large"], examples)
    columns["middle"] = answers(["large"], examples, seed=5)["large"]
    dataset = load(write_records(tmp_path / "r.jsonl", values, examples, columns))
    [group] = dataset.groups
    everything = np.arange(len(examples))
    view = CascadeView(dataset, group, "default", everything, everything)
    by = {
        candidate.tier.agreement: candidate.scored.scores
        for candidate in semantic(dataset, view.tiers[0], group.index)
        if (candidate.kind, candidate.tier.signal) == ("semantic", "rougeL")
    }
    points = [point for point in front(view).to_json()["points"] if (point["signal"] or "").startswith("rougeL")]
    rates = {name: [(scores < point["thresholds"][0]).mean() for point in points] for name, scores in by.items()}
    assert [point["rate"] for point in points] == pytest.approx(rates["max"])
    assert rates["max"] != pytest.approx(rates["mean"])
