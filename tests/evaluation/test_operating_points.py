"""A cascade under pressure, and without its scorer, decides online as evaluation says that it does."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.api.intake.ask import Ask
from serve_app.config import AppConfig
from serve_app.core.record import DecisionRecord
from serve_app.core.types.answer import Answer, Generation
from serve_app.core.types.prompt import Prompt
from serve_app.deployments.router import Router
from serve_app.errors import SignalError
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.other_config import with_config
from serve_app.evaluation.evaluate.evaluate import evaluate, score
from serve_app.evaluation.evaluate.operating.points import OperatingPoint, operating_points
from serve_app.evaluation.evaluate.tables import tables
from serve_app.evaluation.records.file import Records
from tests.deployments.replies import answered
from tests.evaluation.synthetic import answers, args, questions, serving_file, write_records

COUNT = 90
USUAL, LOWER = 0.7, 0.3
SHED = {"by": "thresholds", "thresholds": [LOWER]}
HUGE = (4, 29, 53, 79)
"""Examples whose answers are too long for the router, whatever fails."""
STAND_IN = {"signal": "chrf", "threshold": 0.45}


def values(**cascade: Any) -> dict[str, Any]:
    config = args(threshold=USUAL)
    for model in config["models"].values():
        model["slots"] = 1
    config["cascades"]["default"] |= {"shed": SHED} | cascade
    config["cascades"]["default"]["tiers"][0]["on_scorer_failure"] = STAND_IN
    return config


@pytest.fixture(scope="module")
def columns() -> dict[str, list[Answer]]:
    """Return answers of members that are short, long or huge, and of a target that always answers."""
    by_model = answers(["small", "tiny", "large"], questions(COUNT), seed=5)
    by_model["large"] = [
        answer if isinstance(answer, Generation) else Generation("large", "stop", 1, 1) for answer in by_model["large"]
    ]
    for model in ("small", "tiny"):
        by_model[model] = [stretched(k, answer) for k, answer in enumerate(by_model[model])]
    return by_model


def stretched(k: int, answer: Answer) -> Answer:
    """Make every third example's answers 70 times as long, and those of some huge: one word, which is soon compared."""
    if not isinstance(answer, Generation):
        return answer
    return replace(answer, text="x" * 51_000 if k in HUGE else " ".join([answer.text] * (1 if k % 3 else 70)))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, columns: dict[str, list[Answer]]) -> Records:
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    return Records.load(write_records(path, values(), questions(COUNT), columns))


class Recorded:
    """A model's handle: it answers from the records."""

    def __init__(self, by_prompt: dict[Prompt, Answer]) -> None:
        self.by_prompt = by_prompt

    def options(self, **_: Any) -> "Recorded":
        return self

    async def remote(self, prompt: Prompt, **_: Any) -> Answer:
        return self.by_prompt[Prompt(prompt.messages)]


class Away:
    """A scorer that is not there."""

    def options(self, **_: Any) -> "Away":
        return self

    async def remote(self, *_: Any) -> Any:
        raise SignalError("Away.")


async def online(
    records: Records, columns: dict[str, list[Answer]], *, waiting: int = 0, inline_characters: int = 10**6, **shed: Any
) -> list[DecisionRecord]:
    """Return every example's record, with `waiting` requests that take the target's only slot and its two places."""
    config = values(shed=SHED | shed) | {"scorer": {"inline_characters": inline_characters}}
    prompts = [Prompt(records.messages(row)) for row in range(COUNT)]
    handles: dict[str, Any] = {
        name: Recorded(dict(zip(prompts, column, strict=True))) for name, column in columns.items()
    }
    scorer: Any = Away()
    router = Router(AppConfig.model_validate(config), handles, scorer, {})
    for _ in range(waiting):
        router.parts.protection.loads["large"].acquire()
    return [await answered(router, Ask("default", prompt)) for prompt in prompts]


def computed_inline(records: Records, tmp_path: Path, characters: int) -> Records:
    """Return the records under a config whose router compares so many characters itself."""
    config = values() | {"scorer": {"inline_characters": characters}}
    return with_config(records, serving_file(tmp_path / "inline.yaml", config))


def offline(records: Records) -> tuple[CascadeView, dict[str, OperatingPoint]]:
    dataset = load_dataset(records, Options(signals=("rougeL",), resamples=100))
    scored = score(dataset)
    [cascade] = evaluate(dataset, scored).groups[0].cascades
    return scored[0].view, {point.name: point for point in cascade.operating_points}


@pytest.mark.parametrize(
    ("name", "circumstances", "reasons"),
    [
        ("usual", {}, {"agreement", "disagreement"}),
        ("shed by thresholds", {"waiting": 2}, {"agreement", "disagreement"}),
        ("shed by members", {"waiting": 2, "by": "members", "thresholds": None}, {"agreement", "shed"}),
        ("scorer away", {"inline_characters": 0}, {"lexical_agreement", "lexical_disagreement", "scorer_failed"}),
        (
            "scorer away",
            {"inline_characters": 2000},
            {"agreement", "disagreement", "lexical_agreement", "lexical_disagreement", "scorer_failed"},
        ),
    ],
)
def test_the_router_decides_as_evaluation_says(
    records: Records,
    columns: dict[str, list[Answer]],
    name: str,
    circumstances: dict[str, Any],
    reasons: set[str],
    tmp_path: Path,
) -> None:
    ended = asyncio.run(online(records, columns, **circumstances))
    assert reasons <= {record.reason for record in ended}
    view, points = offline(computed_inline(records, tmp_path, circumstances.get("inline_characters", 10**6)))
    assert len(view.dataset) == COUNT
    tested: Sequence[int] = view.test.tolist()
    assert points[name].passed_on[0].estimate == pytest.approx(np.mean([ended[k].deferred for k in tested]))
    quality = [view.quality(str(ended[k].answered_by))[k] for k in tested]
    assert points[name].quality.estimate == pytest.approx(np.mean(quality))
    alone = view.target_cost["flops"][view.test].mean()
    assert points[name].cost["flops"].estimate == pytest.approx(np.mean([ended[k].cost.flops for k in tested]) / alone)


def test_each_point_is_told_beside_the_usual_one(records: Records) -> None:
    _, points = offline(records)
    assert list(points) == ["usual", "shed by thresholds", "shed by members", "scorer away"]
    rules = [[(rule.signal, rule.threshold) for rule in point.rules[0]] for point in points.values()]
    always = [("rougeL", USUAL)], [("rougeL", LOWER)], [("rougeL", None)]
    assert rules == [*always, [("rougeL", USUAL), (STAND_IN["signal"], STAND_IN["threshold"])]]
    usual, lower, members, _ = points.values()
    assert usual.passed_on[-1].estimate > lower.passed_on[-1].estimate > members.passed_on[-1].estimate
    assert usual.cost["flops"].estimate > lower.cost["flops"].estimate > members.cost["flops"].estimate
    assert lower.less_usual.estimate == pytest.approx(lower.quality.estimate - usual.quality.estimate)
    assert usual.less_usual.estimate == 0


def test_they_are_in_the_tables_and_in_the_json(records: Records) -> None:
    evaluation = evaluate(load_dataset(records, Options(signals=("rougeL",), resamples=100)))
    group = evaluation.groups[0]
    [table] = [table for table in tables(group, group.cascades[0]) if table.title == "Operating points"]
    assert [row[0] for row in table.rows] == ["usual", "shed by thresholds", "shed by members", "scorer away"]
    assert [row[2] for row in table.rows] == ["0.7000", "0.3000", "any answer", "0.7000 / 0.4500"]
    [body] = evaluation.to_json()["groups"][0]["cascades"]
    assert body["operating_points"][2]["rules"] == [[{"signal": "rougeL", "threshold": None, "share": 1.0}]]
    short, long = body["operating_points"][3]["rules"][0]
    assert table.rows[3][1] == f"rougeL ({short['share']:.1%}) / chrf ({long['share']:.1%})"


def test_a_cascade_without_any_has_no_table(tmp_path: Path, columns: dict[str, list[Answer]]) -> None:
    path = write_records(tmp_path / "records.jsonl", args(), questions(COUNT), columns)
    evaluation = evaluate(load_dataset(Records.load(path), Options(signals=("rougeL",), resamples=100)))
    assert "operating_points" not in evaluation.to_json()["groups"][0]["cascades"][0]


def test_the_thresholds_in_force_are_those_that_count(records: Records, tmp_path: Path) -> None:
    calibrated = {"id": "c", "thresholds": [0.6], "shed": {"thresholds": [0.2]}}
    file = serving_file(tmp_path / "config.yaml", values())
    text = file.read_text().replace(
        "- args:",
        "- deployments:\n  - name: Router\n    user_config:\n"
        f"      thresholds: {{default: [0.6]}}\n      calibrations: {{default: {calibrated}}}\n  args:",
    )
    file.write_text(text)
    _, points = offline(with_config(records, file))
    rules = [points[name].rules[0][0] for name in ("usual", "shed by thresholds")]
    assert [rule.threshold for rule in rules] == [0.6, 0.2]


def test_what_nothing_compares_costs_no_comparison(records: Records, tmp_path: Path) -> None:
    dataset = load_dataset(computed_inline(records, tmp_path, 2000), Options(signals=("rougeL",), resamples=100))
    [scored] = score(dataset)
    view, measured = scored.view, dataset.replay.similarities[None]

    def flops() -> float:
        point = {point.name: point for point in operating_points(view)}["scorer away"]
        return point.cost["flops"].estimate * float(view.target_cost["flops"][view.test].mean())

    free = flops()
    for name, cost in {"rougeL": 1e12, "chrf": 3e12}.items():
        measured[name] = replace(measured[name], flops=np.full(COUNT, cost))
    lengths = [sum(len(dataset.replay.texts(model, None)[k]) for model in ("small", "tiny")) for k in view.test]
    assert min(lengths) <= 2000 < 100_000 < max(lengths)
    costs = [0 if length > 100_000 else 3e12 if length > 2000 else 1e12 for length in lengths]
    assert flops() - free == pytest.approx(np.mean(costs))
