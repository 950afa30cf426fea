"""`skip` on records: fitted, judged by the other records, and decided online as offline."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from typer.testing import CliRunner

from serve_app.api.intake.ask import Ask
from serve_app.cli.commands import app
from serve_app.config import AppConfig
from serve_app.core.record import DecisionRecord
from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.core.types.prompt import Message, Prompt
from serve_app.core.types.scores import Embedding
from serve_app.deployments.router import Router
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.past import requests as module
from serve_app.evaluation.analysis.past.requests import past_requests
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.evaluate.skips import SkipRow
from serve_app.evaluation.fit_skip.command import run
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.file import Records
from serve_app.skipping.fitted import Fitted
from tests.deployments.replies import answered
from tests.evaluation.synthetic import serving_file, write_records
from tests.skipping.past import EASY, HARD, ODD, embedding

MODELS = {name: {"engine": "replay", "default": "x", "parameters": size} for name, size in (("a", 1e3), ("b", 1e3))}
SKIP = {"encoder": "sbert", "k": 5, "defer_above": 1.0, "accept_above": 1.0, "member": "b"}
COUNT = 12
KINDS = (EASY, HARD, ODD)


class Encoder:
    """The scorer of the router and of evaluation alike: it embeds by the beginnings of texts, and compares nothing."""

    def options(self, **_: Any) -> "Encoder":
        return self

    async def remote(self, signal: str, texts: Sequence[str], *_: Any) -> list[Embedding]:
        assert signal == "sbert"
        return self.embed(texts)

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        return [embedding(text) for text in texts]


class Recorded:
    """A model's handle: it answers from the records."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.answers = answers

    def options(self, **_: Any) -> "Recorded":
        return self

    async def remote(self, prompt: Prompt, **_: Any) -> Answer:
        return self.answers[prompt.messages[0].content]


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_encoder", lambda *_: Encoder())


def args(path: Path, **skip: Any) -> dict[str, Any]:
    models = MODELS | {"t": {"engine": "replay", "default": "x", "parameters": 1e6}}
    tiers = [{"models": ["a", "b"], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]
    failing = {"on_target_failure": skip.pop("on_target_failure", "error")}
    cascade = {"tiers": tiers, "skip": SKIP | {"fitted": str(path)} | skip} | failing
    return {"models": models, "cascades": {"default": cascade}}


def examples() -> list[Example]:
    """Return 12 easy, 12 hard and 12 odd questions."""
    return [
        Example(f"{kind}-{k}", "custom", "Synthetic, 0", {"prompt": f"{kind} {k}"}, (f"right {k}",))
        for kind in KINDS
        for k in range(COUNT)
    ]


def column(model: str) -> list[Answer]:
    """Return a model's answers: members agree on the easy and on every other odd question, the target is right."""
    answers: list[Answer] = []
    for example in examples():
        kind, k = example.id.rsplit("-", 1)
        agreed = kind == EASY or (kind == ODD and int(k) % 2 == 0)
        text = f"right {k}" if model == "t" or agreed else f"{model} wrong {k}"
        answers.append(Generation(text, "stop", 10, 2, latency_s=0.5))
    return answers


def records(folder: Path, overrides: dict[str, list[Answer]] | None = None, **skip: Any) -> Records:
    columns = {model: column(model) for model in "abt"} | (overrides or {})
    path = write_records(folder / "records.jsonl", args(folder / "skip.npz", **skip), examples(), columns)
    return Records.load(path)


def verdicts(of: Records) -> list[str | None]:
    dataset = load_dataset(of, Options(signals=()))
    policy = dataset.config.cascades["default"].skip_policy()
    assert policy is not None
    return [precheck.verdict for precheck in past_requests(dataset, "default").prechecks(policy, [0.5])]


def test_each_example_is_judged_by_the_others(tmp_path: Path) -> None:
    assert verdicts(records(tmp_path)) == ["accepted"] * COUNT + ["deferred"] * COUNT + [None] * COUNT


def test_an_example_is_not_its_own_neighbour(tmp_path: Path) -> None:
    # All other hard examples are deferred; the first one is accepted, which all but itself see. The 11 others
    # tie, and the first 5 of the file are the neighbours.
    agreed = column("a")[COUNT : COUNT + 1]
    overrides = {model: [*column(model)[:COUNT], *agreed, *column(model)[COUNT + 1 :]] for model in "ab"}
    hard = verdicts(records(tmp_path, overrides))[COUNT : 2 * COUNT]
    assert hard == ["deferred"] + [None] * (COUNT - 1)


def test_the_file_is_what_a_server_needs(tmp_path: Path) -> None:
    result = run(records(tmp_path), "default", None)
    assert (result.requests, result.deferred, result.skipped_deferred, result.skipped_accepted) == (
        36,
        0.5,
        1 / 3,
        1 / 3,
    )
    fitted = Fitted.load(AppConfig.model_validate(args(tmp_path / "skip.npz")), "default")
    assert len(fitted) == 36
    np.testing.assert_array_equal(fitted.scores[:, 0], [1.0] * 12 + [0.0] * 12 + [1.0, 0.0] * 6)
    assert fitted.embeddings.shape == (36, 4)


def rows_of(of: Records) -> dict[tuple[float | None, float | None], SkipRow]:
    """Return the settings of `skip` that evaluation shows, by their limits."""
    evaluation = evaluate(load_dataset(of, Options(signals=("exact",), metrics=("exact_match",), resamples=100)))
    [cascade] = evaluation.groups[0].cascades
    assert cascade.skip is not None
    return {(row.defer_above, row.accept_above): row for row in cascade.skip.rows}


def row_of(of: Records, defer_above: float | None, accept_above: float | None) -> SkipRow:
    return rows_of(of)[defer_above, accept_above]


def test_quality_and_cost_are_those_of_where_requests_go(tmp_path: Path) -> None:
    of = records(tmp_path)
    test = load_dataset(of, Options(signals=(), metrics=("exact_match",))).parts(np.arange(36), 1 / 3)[1]
    easy, hard = float((test < 12).mean()), float(((test >= 12) & (test < 24)).mean())
    agreed_odd = float(((test >= 24) & (test % 2 == 0)).mean())
    plain, skipping = row_of(of, None, None), row_of(of, 1.0, 1.0)
    assert (plain.deferred.estimate, plain.accepted.estimate, plain.quality.estimate) == (0.0, 0.0, 1.0)
    assert (skipping.deferred.estimate, skipping.accepted.estimate) == pytest.approx((hard, easy))
    assert skipping.quality.estimate == 1.0
    # A member's answer costs 2 x 1e3 x 12 = 24,000 FLOPs, the target's 24,000,000; a look-up 8.
    share = 1e3 / 1e6
    assert plain.cost["flops"].estimate == pytest.approx(2 * share + 1 - easy - agreed_odd)
    saved = 2 * share * hard + share * easy - 8 / 24e6
    assert skipping.cost_less_without["flops"].estimate == pytest.approx(-saved)


class Timed(Encoder):
    """An encoder on a processor's clock of its own: loading it takes 100 s, and each text 0.25 s."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def load(self, *_: Any) -> "Timed":
        self.now_s += 100.0
        return self

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        self.now_s += 0.25 * len(texts)
        return super().embed(texts)


def test_a_look_up_takes_the_time_of_an_embedding_and_no_device_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, encoder = records(tmp_path), Timed()
    monkeypatch.setattr(module, "_encoder", encoder.load)
    monkeypatch.setattr("time.process_time", lambda: encoder.now_s)
    test = load_dataset(of, Options(signals=(), metrics=("exact_match",))).parts(np.arange(36), 1 / 3)[1]
    easy, hard = float((test < 12).mean()), float(((test >= 12) & (test < 24)).mean())
    skipping = row_of(of, 1.0, 1.0)
    # Every answer takes 0.5 s, members at the same time; so a look-up takes half as long as the target.
    assert skipping.cost_less_without["device_s"].estimate == pytest.approx(-(2 * hard + easy))
    assert skipping.cost_less_without["latency_s"].estimate == pytest.approx(0.5 - hard)


def test_an_answer_of_one_member_may_be_worse_than_the_selected_one(tmp_path: Path) -> None:
    lenient = {"accept_above": 0.9, "min_similarity": -1.0, "k": 5}
    wrong = [Generation("b wrong", "stop", 10, 2, latency_s=0.5)]
    overrides = {"b": [*wrong, *column("b")[1:]]}
    of = records(tmp_path, overrides, **lenient)
    test = load_dataset(of, Options(signals=(), metrics=("exact_match",))).parts(np.arange(36), 1 / 3)[1]
    row = row_of(of, 1.0, 0.9)
    assert row.less_without.estimate == pytest.approx(-float((test == 0).mean()))


@pytest.mark.parametrize("answer", [Failure("error", "It broke.", 10, 0, 0.1), Generation(" ", "length", 10, 2)])
def test_where_the_member_has_no_answer_the_cascade_runs(tmp_path: Path, answer: Answer) -> None:
    test = load_dataset(records(tmp_path), Options(signals=(), metrics=("exact_match",))).parts(np.arange(36), 1 / 3)[1]
    without = int(test[test < 12][0])
    overrides = {"b": [*column("b")[:without], answer, *column("b")[without + 1 :]]}
    row = row_of(records(tmp_path, overrides, accept_above=0.8), 1.0, 0.8)
    assert row.accepted.estimate == pytest.approx(float(((test < 12) & (test != without)).mean()))


def test_no_limit_is_tried_that_the_config_could_not_have(tmp_path: Path) -> None:
    rows = rows_of(records(tmp_path, defer_above=None, on_target_failure="best_member"))
    assert list(rows) == [(None, None), (None, 1.0), *((None, share) for share in (0.6, 0.7, 0.8, 0.9))]


class Scattered(Encoder):
    """Embeds every text somewhere else, in 8 dimensions."""

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        drawn = [np.random.default_rng(crc32(text.encode())).normal(size=8) for text in texts]
        return [Embedding((vector / np.linalg.norm(vector)).astype("<f4").tobytes(), 4, 8.0) for vector in drawn]


async def routed(path: Path, encoder: Encoder, **skip: Any) -> Router:
    prompts = [str(example.prompt_inputs["prompt"]) for example in examples()]
    handles: dict[str, Any] = {
        model: Recorded(dict(zip(prompts, column(model), strict=True))) for model in ("a", "b", "t")
    }
    scorer: Any = encoder
    router = Router(AppConfig.model_validate(args(path, **skip)), handles, scorer, {})
    await decide(router, examples()[0])  # which has the encoder tested
    await asyncio.sleep(0)
    return router


async def decide(router: Router, example: Example) -> DecisionRecord:
    prompt = Prompt((Message("user", str(example.prompt_inputs["prompt"])),))
    return await answered(router, Ask("default", prompt))


async def test_requests_end_online_where_they_end_offline(tmp_path: Path) -> None:
    of = records(tmp_path)
    await asyncio.to_thread(run, of, "default", None)
    router = await routed(tmp_path / "skip.npz", Encoder())
    online = [await decide(router, example) for example in of.examples]
    # A record that is sent again is among its own neighbours, which changes no verdict here.
    skipped = [record.skipped and record.skipped.verdict for record in online]
    assert skipped == await asyncio.to_thread(verdicts, of)
    assert [record.answered_by for record in online] == ["b"] * COUNT + ["t"] * COUNT + ["a", "t"] * (COUNT // 2)


async def test_a_server_without_a_record_decides_on_it_as_evaluation_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_encoder", lambda *_: Scattered())
    limits = {"defer_above": 0.8, "accept_above": 0.8, "min_similarity": -1.0}
    of = records(tmp_path, **limits)
    dataset = await asyncio.to_thread(load_dataset, of, Options(signals=()))
    past = await asyncio.to_thread(past_requests, dataset, "default")
    policy = dataset.config.cascades["default"].skip_policy()
    assert policy is not None
    offline = past.prechecks(policy, [0.5])
    assert {precheck.verdict for precheck in offline} == {"deferred", "accepted", None}
    for k, example in enumerate(of.examples):
        fitted = past.fitted
        neighbours = np.delete(fitted.embeddings, k, axis=0), np.delete(fitted.scores, k, axis=0)
        Fitted(fitted.identity, *neighbours, fitted.probe).write(tmp_path / "skip.npz")
        record = await decide(await routed(tmp_path / "skip.npz", Scattered(), **limits), example)
        expected = offline[k] if offline[k].verdict else None
        assert (record.skipped and replace(record.skipped, flops=0.0)) == expected


def test_the_commands(tmp_path: Path) -> None:
    records(tmp_path)
    command = ["fit-skip", str(tmp_path / "records.jsonl"), "-o", str(tmp_path / "other.npz")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "36 past requests of default" in result.output
    assert "33.3% would go straight to the target and 33.3% straight to one member" in result.output
    assert (tmp_path / "other.npz").exists()
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, "other.npz' exists" in result.output) == (1, True)
    assert CliRunner().invoke(app, [*command, "--force"]).exit_code == 0
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "records.jsonl"), "--metric", "exact_match"])
    assert result.exit_code == 0, result.output
    assert "without skip" in result.output
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "records.jsonl"), "--metric", "exact_match", "--json"])
    [cascade] = json.loads(result.stdout)["groups"][0]["cascades"]
    assert [row["accept_above"] for row in cascade["skip"]["rows"][:2]] == [None, 1.0]


def test_a_cascade_without_skip_is_told(tmp_path: Path) -> None:
    config = args(tmp_path / "skip.npz")
    del config["cascades"]["default"]["skip"]
    path = write_records(tmp_path / "r.jsonl", config, examples(), {model: column(model) for model in "abt"})
    result = CliRunner().invoke(app, ["fit-skip", str(path)])
    assert (result.exit_code, "cascades.default.skip: not set" in result.output) == (2, True)
    result = CliRunner().invoke(app, ["fit-skip", str(path), "--cascade", "defalt"])
    assert "The records have no cascade 'defalt'. Did you mean 'default'?" in result.output
    file = serving_file(tmp_path / "c.yaml", args(tmp_path / "skip.npz"))
    result = CliRunner().invoke(app, ["fit-skip", str(path), "--config", str(file)])
    assert (result.exit_code, (tmp_path / "skip.npz").exists()) == (0, True)


def test_too_few_past_requests_are_told(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    records(tmp_path, k=36)
    result = CliRunner().invoke(app, ["fit-skip", str(path)])
    assert (result.exit_code, "36 past requests are too few: k is 36." in result.output) == (1, True)
