"""A cascade served over imported records decides what the evaluation of the same records decides."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from serve_app.config import AppConfig
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Generation
from serve_app.core.types.prompt import Prompt
from serve_app.core.types.scores import Scores
from serve_app.deployments.inline_scorer import InlineScorer
from serve_app.engines import load_engine
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options as Evaluated
from serve_app.evaluation.analysis.other_config import with_config
from serve_app.evaluation.importing.command import Options, import_records
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.tasks import Prompts
from serve_app.signals import CompositeScorer
from tests.api.engine_model import EngineModel
from tests.evaluation.importing.sources import published, write_list, zeroeval_row
from tests.evaluation.synthetic import serving_file

MODELS = ("small", "middle", "large")
TIER = {"models": ["small", "middle"], "signal": "rougeL", "threshold": 0.5}
CASCADES = {
    "texts": TIER,
    "answers": TIER | {"signal": "exact", "compare": {"strip": ["code_fences"], "take": {"json": "answer"}}},
    "mean": TIER | {"signal": "chrf", "agreement": "mean", "select": "middle"},
}


class NoScorer:
    """Every text is compared inside the router."""

    async def score(self, signal: str, texts: Any, since: int = 0) -> Scores:
        raise AssertionError(signal)


def served(records: Path) -> dict[str, Any]:
    """Return a config whose models answer from the records."""
    models = {
        name: {"engine": "replay", "records": str(records), "recorded_model": name, "context_tokens": 10**6}
        for name in MODELS
    }
    return {
        "models": models,
        "cascades": {id_: {"tiers": [tier, {"models": ["large"]}]} for id_, tier in CASCADES.items()},
    }


async def decisions_online(config: AppConfig, id_: str, records: Records) -> list[tuple[Any, ...]]:
    models = {name: EngineModel(await load_engine(model)) for name, model in config.models.items()}
    inline = InlineScorer(config.similarities(), NoScorer(), 10**6)
    scorer = CompositeScorer(inline, config.composites())
    tiers = config.tiers(id_, config.thresholds()[id_])
    online = []
    for number, example in enumerate(records.examples):
        prompt = Prompt(Prompts().messages(example.task, example.prompt_inputs))
        outcome = await run_cascade(Run(prompt, tiers, models, scorer))
        decision = outcome.tiers[0].decision
        assert isinstance(outcome.answer, Generation)
        recorded = records.answers[outcome.answered_by][number]
        assert isinstance(recorded, Generation)
        assert (outcome.answer.text, outcome.answer.completion_tokens) == (recorded.text, recorded.completion_tokens)
        online.append((decision.reason, decision.accepted, decision.agreement, decision.selected))
    return online


def easy(number: int) -> str:
    return f'```json\n{{"reasoning": "This is easy.", "answer": "{number}"}}\n```'


def unsure(name: str, number: int) -> str:
    return f"{name} would rather say nothing at all about question {number} or any other"


def decisions_offline(records: Records, id_: str) -> list[tuple[Any, ...]]:
    dataset = load_dataset(records, Evaluated(cascades=(id_,), signals=(), metrics=("exact_match",)))
    [tier, _] = dataset.config.tiers(id_, dataset.config.thresholds()[id_])
    decisions = dataset.replay.decisions(tier)
    return [(decision.reason, decision.accepted, decision.agreement, decision.selected) for decision in decisions]


async def check(folder: Path, sources: list[str]) -> None:
    path = folder / "r.jsonl"
    import_records(sources, path, Options(target="large"), Console(quiet=True))
    file = serving_file(folder / "c.yaml", served(path))
    records = with_config(Records.load(path), file)
    for id_ in CASCADES:
        offline = await asyncio.to_thread(decisions_offline, records, id_)
        assert len(Counter(accepted for _, accepted, *_ in offline)) == 2, "both decisions occur"
        assert await decisions_online(records.config, id_, records) == offline, id_


async def test_imported_answers_are_decided_alike_online_and_offline(tmp_path: Path) -> None:
    shares = {"small": 2, "middle": 3, "large": 100}
    sources = []
    for name, every in shares.items():
        rows = [zeroeval_row(k, easy(k) if k % every else unsure(name, k)) for k in range(24)]
        sources.append(f"{name}={write_list(tmp_path / f'{name}.json', rows)}")
    await check(tmp_path, sources)


@pytest.mark.slow
async def test_published_answers_are_decided_alike_online_and_offline(tmp_path: Path) -> None:
    files = {"small": "gemma-2-2b-it", "middle": "Qwen2-7B-Instruct", "large": "Qwen2-72B-Instruct"}
    await check(tmp_path, [f"{name}={published(f'zeroeval/gsm/{file}*')[0]}" for name, file in files.items()])
