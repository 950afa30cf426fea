"""Ladders on records: a model of several tiers is asked, and paid, once."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.charges import charge
from serve_app.core.protocols import Model
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Delta, Generation, TokenLogprob
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt
from serve_app.core.types.scores import Scores
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import UNITS
from serve_app.evaluation.analysis.dataset import CALIBRATE, CHOOSE, Dataset
from serve_app.evaluation.analysis.fitting import with_signals
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.similarities import Similarities
from serve_app.evaluation.calibrate.calibrate import scored_tiers
from serve_app.evaluation.calibrate.command import run
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.evaluate import fronts
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.evaluate.fronts import ParetoFront
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.pareto import answered_by
from tests.evaluation.synthetic import answers, questions, write_records

MEMBERS = ("a", "b", "c")
PAIR_FLOPS, PAIR_S = 7.0, 0.125
"""What the scorer of these tests spends on each pair of texts."""


def tier(*models: str, signal: str = "exact", threshold: float = 0.5) -> dict[str, Any]:
    """Return a tier that waits for all its answers, as offline costs assume."""
    return {"models": models, "signal": signal, "threshold": threshold, "early": "off"}


def config(*tiers: dict[str, Any], target: str = "t") -> dict[str, Any]:
    sizes = {"a": 1e8, "b": 2e8, "c": 4e8, "t": 8e8}
    models = {
        name: {"engine": "replay", "default": "x", "parameters": size, "input_usd": size / 1e8, "devices": 2}
        for name, size in sizes.items()
    }
    return {"models": models, "cascades": {"default": {"tiers": [*tiers, {"models": [target]}]}}}


def pairs_of(texts: int) -> int:
    return texts * (texts - 1) // 2


def dataset(values: dict[str, Any], columns: dict[str, Sequence[Answer]]) -> Dataset:
    """Load records of these answers, with a scorer whose costs are known."""
    examples = questions(len(columns["t"]))
    with TemporaryDirectory() as folder:
        records = Records.load(write_records(Path(folder) / "records.jsonl", values, examples, columns))
    loaded = load_dataset(records, Options(signals=("exact",), processes=1))
    for view, computed in loaded.replay.similarities.items():
        pairs = pairs_of(len(loaded.members))
        loaded.replay.similarities[view] = {
            name: Similarities(similarities.matrices, np.full(len(loaded), PAIR_FLOPS * pairs), PAIR_S * pairs)
            for name, similarities in computed.items()
        }
    return loaded


def view_of(data: Dataset) -> CascadeView:
    [id_] = data.config.cascades
    group = data.groups[-1]
    return CascadeView(data, group, id_, group.index[:0], group.index)


def answer(text: str, tokens: int, seconds: float, sure: float = -1.0) -> Generation:
    return Generation(text, "stop", 10, tokens, (TokenLogprob(text, sure),), seconds, 0.0)


def test_costs_of_a_ladder_worked_by_hand() -> None:
    """[a], then [a, b], then [a, b, c], then t: 10 tokens of the prompt and 10 of the answer each."""
    columns = {
        name: [answer("x", 10, seconds)] * 2 for name, seconds in zip("abct", (0.5, 0.25, 2.0, 4.0), strict=True)
    }
    data = dataset(config(tier("a", signal="chow_avg", threshold=-2), tier("a", "b"), tier(*MEMBERS)), columns)
    view = view_of(data)
    assert {unit: [cost[0] for cost in costs] for unit, costs in view.tier_costs(view.tiers[:-1]).items()} == {
        "flops": [4e9, 8e9 + PAIR_FLOPS, 16e9 + 3 * PAIR_FLOPS, 32e9],
        "usd": pytest.approx([1e-5, 2e-5, 4e-5, 8e-5]),
        "device_s": [1.0, 0.5 + PAIR_S, 4.0 + 3 * PAIR_S, 8.0],
        "latency_s": [0.5, 0.25 + PAIR_S, 2.0 + 3 * PAIR_S, 4.0],
    }


def test_a_tier_of_carried_answers_costs_its_scorer_and_a_carried_target_nothing() -> None:
    columns = {name: [answer("x", 10, 1.0)] * 2 for name in "abct"}
    again = config(tier("a", "t"), tier("t", "a", threshold=0.25), tier("b", "a"))
    view = view_of(dataset(again, columns))
    costs = view.tier_costs(view.tiers[:-1])
    assert [cost[0] for cost in costs["flops"]] == [36e9 + PAIR_FLOPS, PAIR_FLOPS, 8e9 + PAIR_FLOPS, 0]
    assert [cost[0] for cost in costs["usd"]] == pytest.approx([9e-5, 0, 2e-5, 0])
    assert [cost[0] for cost in costs["device_s"]] == [4 + PAIR_S, PAIR_S, 2 + PAIR_S, 0]
    assert [cost[0] for cost in costs["latency_s"]] == [1 + PAIR_S, PAIR_S, 1 + PAIR_S, 0]


@pytest.mark.parametrize(("signal", "seconds"), [("exact", 4.0), ("bleurt", 4.0), ("sbert", 8.0)])
def test_two_of_three_members_pay_for_a_pair_of_three_or_for_two_of_three_encodings(
    signal: str, seconds: float
) -> None:
    data = dataset(config(tier(*MEMBERS)), {name: [answer("x", 10, 1.0)] for name in "abct"})
    [computed] = data.replay.similarities.values()
    computed[signal] = replace(computed["exact"], device_s=12.0)
    two = replace(view_of(data).tiers[0], models=("a", "b"), signal=signal)
    assert data.tier_cost(two, asked_models=("a", "b"))["device_s"] == [seconds]


TEXTS = st.sampled_from(["x", "y"])
ANSWERS = st.builds(answer, TEXTS, st.integers(1, 9), st.floats(0.1, 2), st.sampled_from([-3.0, -2.0, -1.0]))
COUNT = 4
COLUMNS = st.fixed_dictionaries({name: st.lists(ANSWERS, min_size=COUNT, max_size=COUNT) for name in (*MEMBERS, "t")})
SCORED = st.lists(st.sampled_from([*MEMBERS, "t"]), min_size=2, max_size=4, unique=True).map(lambda names: tier(*names))
ALONE = st.sampled_from(MEMBERS).map(lambda name: tier(name, signal="chow_avg"))
SHARES = st.lists(st.sampled_from([-9.0, -1.5, 0.25, 0.5, 0.75, 9.0]), min_size=3, max_size=3)


def distinct(tiers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tiers with distinct models, so that none is without effect."""
    return list({tuple(sorted(entry["models"])): entry for entry in tiers}.values())


@dataclass
class Engine:
    """A model with one answer, which counts its calls."""

    answer: Answer
    calls: int = 0

    async def generate(self, prompt: Prompt) -> Answer:
        self.calls += 1
        return self.answer

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        yield await self.generate(prompt)


class ExactScorer:
    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        matrix = tuple(tuple(float(a == b) for b in texts) for a in texts)
        return Scores(matrix, PAIR_FLOPS * pairs_of(len(texts)), PAIR_S * pairs_of(len(texts)))


def served(tiers: Sequence[Tier], engines: dict[str, Engine]) -> Run:
    """Run a request through the decision core."""
    online = Run(Prompt(text="?"), tiers, cast("dict[str, Model]", engines), ExactScorer())
    asyncio.run(run_cascade(online))
    return online


@settings(max_examples=40, deadline=None)
@given(COLUMNS, st.lists(SCORED | ALONE, min_size=1, max_size=3).map(distinct), SHARES)
def test_what_a_ladder_costs_is_what_its_engines_count_and_a_server_charges(
    columns: dict[str, list[Generation]], tiers: list[dict[str, Any]], thresholds: list[float]
) -> None:
    data = dataset(config(*tiers), columns)
    view, candidates = scored_tiers(data)
    by = answered_by([candidate.scored.scores for candidate in candidates], thresholds[: len(tiers)])
    costs = view.tier_costs([candidate.tier for candidate in candidates])
    prices = {name: model.cost() for name, model in data.config.models.items()}
    [id_] = data.config.cascades
    for k in range(COUNT):
        reached = [*(entry["models"] for entry in tiers), ["t"]][: by[k] + 1]
        compared = [names for names in reached[: len(tiers)] if len(names) > 1]
        called_models = {name for names in reached for name in names}
        pairs = sum(pairs_of(len(names)) for names in compared)
        spent = {unit: sum(cost[k] for cost in columns_[: by[k] + 1]) for unit, columns_ in costs.items()}
        alone = {
            unit: sum(cost[k] for name in called_models if (cost := data.costs[name][unit]) is not None)
            for unit in UNITS
        }
        assert spent["flops"] == pytest.approx(alone["flops"] + PAIR_FLOPS * pairs)
        assert spent["usd"] == pytest.approx(alone["usd"])
        assert spent["device_s"] == pytest.approx(alone["device_s"] + PAIR_S * pairs)
        assert spent["latency_s"] <= alone["latency_s"] + PAIR_S * pairs + 1e-9
        engines = {name: Engine(column[k]) for name, column in columns.items()}
        online = served(data.config.tiers(id_, thresholds[: len(tiers)]), engines)
        assert {name: engine.calls for name, engine in engines.items()} == {
            name: name in called_models for name in engines
        }
        charged = charge(online, None, prices).request
        assert (charged.flops, charged.usd, charged.device_s) == pytest.approx(
            (spent["flops"], spent["usd"], spent["device_s"])
        )


LADDER = (
    tier("a", signal="chow_avg", threshold=-0.5),
    tier("a", "b", signal="rougeL"),
    tier("a", "b", signal="exact", threshold=0.25),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the synthetic models' answers under the names of a ladder, one tier of which calls no new model."""
    examples = questions(200)
    columns = answers(["tiny", "small", "medium", "large"], examples)
    named = dict(zip("abct", columns.values(), strict=True))
    return write_records(tmp_path_factory.mktemp("ladder") / "records.jsonl", config(*LADDER), examples, named)


def test_evaluate_shows_a_ladder_as_configured_and_under_each_signal(path: Path) -> None:
    data = load_dataset(Records.load(path), Options(signals=("exact", "rougeL"), resamples=50))
    [cascade] = evaluate(data).groups[-1].cascades
    assert isinstance(cascade.detail, ParetoFront)
    assert cascade.tiers == (("a",), ("a", "b"), ("a", "b"), ("t",))
    signals = ["chow_avg -> exact -> exact", "chow_avg -> rougeL -> rougeL", "chow_avg -> rougeL -> exact"]
    assert [name for name, _, _ in fronts._cascades(view_of(data), "flops")] == signals
    assert {point.signal for point in cascade.detail.points} <= {*signals, None}


def test_a_ladder_is_calibrated_and_its_costs_reported(path: Path) -> None:
    options = Options(cascades=("default",), signals=(), resamples=50)
    result = run(Records.load(path), options, Goal(budget=0.6), fit=True, config=None, output=None)
    assert len(result.calibrated.thresholds) == 3
    [zscored] = [signal for name, signal in result.fitted.items() if name == "chow_avg"]
    assert set(zscored.zscores) == {"a"}  # type: ignore[union-attr]
    data = with_signals(load_dataset(Records.load(path), options), result.fitted)
    view, candidates = scored_tiers(data)
    *_, test = data.parts(view.group.index, CHOOSE, CALIBRATE)
    by = answered_by([candidate.scored.scores[test] for candidate in candidates], result.calibrated.thresholds)
    assert set(by) >= {0, 1, 3}
    a, b, target = (cost[test] for name in "abt" if (cost := data.costs[name]["flops"]) is not None)
    spent = a + b * (by > 0) + target * (by > 2)  # lexical scores cost no FLOPs
    assert result.calibrated.report.on_test.cost_share["flops"] == pytest.approx(spent.mean() / target.mean())


def test_a_model_of_two_tiers_is_fitted_on_its_answers_once(tmp_path: Path) -> None:
    values = config(tier("a", signal="chow_avg", threshold=-0.5), tier("a", "b", signal="chow_avg", threshold=0))
    values["signals"] = {"chow_avg": {"kind": "chow_avg", "zscores": {name: {"mean": 0, "std": 1} for name in "ab"}}}
    examples = questions(200)
    columns = dict(zip("abt", answers(["tiny", "small", "large"], examples).values(), strict=True))
    records = Records.load(write_records(tmp_path / "records.jsonl", values, examples, columns))
    options = Options(cascades=("default",), signals=(), resamples=50)
    result = run(records, options, Goal(rates=(0.6, 0.3)), fit=True, config=None, output=None)
    assert set(result.fitted["chow_avg"].zscores) == {"a", "b"}  # type: ignore[union-attr]


def test_a_cascade_of_the_targets_own_answer_never_costs_less_than_the_target(tmp_path: Path) -> None:
    """Deferral costs nothing more once the target has been asked, so the curve of costs is a point."""
    examples = questions(200)
    columns = dict(zip("at", answers(["tiny", "large"], examples).values(), strict=True))
    records = Records.load(write_records(tmp_path / "records.jsonl", config(tier("a", "t")), examples, columns))
    [cascade] = evaluate(load_dataset(records, Options(signals=("exact",), resamples=50))).groups[-1].cascades
    assert cascade.curves is not None
    row = next(row for row in cascade.curves.rows if row.name.kind == "semantic")
    assert row.curve.costs["flops"] == pytest.approx([row.at["flops"].floor] * len(row.curve.rate))
    assert row.at["flops"].floor > 1
    assert row.cheapest is not None
    assert row.cheapest.verdict == "target alone"
