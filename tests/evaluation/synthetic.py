"""Synthetic records: models that know a share of the answers, and are the surer the likelier they are right."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from serve_app.config import AppConfig
from serve_app.core.types.answer import Answer, Failure, Generation, TokenLogprob
from serve_app.evaluation.records.example import Example, digest
from serve_app.evaluation.records.header import (
    ConfigFacts,
    DataFacts,
    Header,
    ModelFacts,
    PromptFacts,
    SamplingFacts,
    SourceFacts,
)
from serve_app.evaluation.records.tasks import Prompts
from serve_app.evaluation.records.writer import Recorder

KNOWN = {"small": 0.5, "tiny": 0.35, "odd": 0.3, "medium": 0.65, "large": 0.8}
"""The share of questions that each model knows the answer to."""
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "islet", "jetty")


def args(members: Sequence[str] = ("small", "tiny"), signal: str = "rougeL", threshold: float = 0.5) -> dict[str, Any]:
    sizes = {"small": 5e8, "tiny": 1e8, "odd": 3e8, "large": 3e9}
    models = {name: {"engine": "replay", "default": "x", "parameters": sizes[name]} for name in (*members, "large")}
    tiers = [{"models": list(members), "signal": signal, "threshold": threshold}, {"models": ["large"]}]
    return {"models": models, "cascades": {"default": {"tiers": tiers}}}


def three_tiers() -> dict[str, Any]:
    """Return a config with the settings of `args`: small and tiny by agreement, medium by its own confidence, large."""
    config = args()
    config["models"]["medium"] = {"engine": "replay", "default": "x", "parameters": 1e9}
    config["cascades"]["default"]["tiers"].insert(1, {"models": ["medium"], "signal": "chow_avg", "threshold": -0.5})
    return config


def questions(count: int, source: str = "Synthetic") -> list[Example]:
    return [
        Example(f"{source}-{k}", "closed_book_qa", f"{source}, {k}", {"question": f"What is {k}?"}, (reference(k),))
        for k in range(count)
    ]


def reference(number: int) -> str:
    return f"{WORDS[number % 10]} {WORDS[number // 10 % 10]} {WORDS[number // 100 % 10]}"


def answers(models: Sequence[str], examples: Sequence[Example], seed: int = 0) -> dict[str, list[Answer]]:
    """Draw answers: easy questions are easy for all models; a few answers are empty, cut short or failures."""
    draw = random.Random(seed)
    ease = [draw.random() for _ in examples]
    return {model: [_answer(draw, model, example, ease[k]) for k, example in enumerate(examples)] for model in models}


def _answer(draw: random.Random, model: str, example: Example, ease: float) -> Answer:
    if draw.random() < 0.02:
        return Failure("error", "It broke.", 10, 0, 0.1)
    knows = ease + draw.gauss(0, 0.15) > 1 - KNOWN[model]
    text = example.references[0] if knows else " ".join(draw.choices(WORDS, k=3))
    if knows and draw.random() < 0.4:
        text = f"the {text}"
    text = "" if draw.random() < 0.02 else text
    tokens = re.findall(r"\s*\S+", text)
    sure = (0.0 if knows else -1.0) - 0.5 * draw.random()
    logprobs = tuple(TokenLogprob(token, sure - 0.1 * draw.random()) for token in tokens)
    finish = "length" if draw.random() < 0.05 else "stop"
    return Generation(text, finish, 10, max(1, len(tokens)), logprobs, 0.2 + 0.1 * draw.random(), 0.1)


def header(config: Mapping[str, Any], examples: Sequence[Example]) -> Header:
    models = AppConfig.model_validate(config).models
    return Header(
        created="2026-11-22T00:00:00+00:00",
        config=ConfigFacts("c" * 64, dict(config)),
        data=DataFacts(digest(examples), len(examples), ["synthetic.jsonl"]),
        prompts=PromptFacts("p" * 64, {"closed_book_qa": "{question}"}),
        sampling=SamplingFacts(0.0, True, {"closed_book_qa": 48}),
        asked=SourceFacts("engines", 4),
        models={name: ModelFacts("replay", None, None, model.cost(), None, None) for name, model in models.items()},
        versions={"python": "3.11"},
    )


def write_records(
    path: Path, config: Mapping[str, Any], examples: Sequence[Example], columns: Mapping[str, Sequence[Answer]]
) -> Path:
    with Recorder(path, header(config, examples), examples) as recorder:
        for model, column in columns.items():
            for example, answer in zip(examples, column, strict=True):
                recorder.add(example.id, model, answer)
    return path


def records(path: Path, count: int = 120, members: Sequence[str] = ("small", "tiny"), seed: int = 0) -> Path:
    """Write a whole file: one data set."""
    examples = questions(count)
    return write_records(path, args(members), examples, answers([*members, "large"], examples, seed))


def three_tier_records(path: Path, count: int = 120, seed: int = 0) -> Path:
    """Write a whole file of `three_tiers`."""
    examples = questions(count)
    columns = answers(["small", "tiny", "medium", "large"], examples, seed)
    return write_records(path, three_tiers(), examples, columns)


def serving_file(path: Path, config: Mapping[str, Any]) -> Path:
    path.write_text(
        yaml.safe_dump({"applications": [{"import_path": "serve_app.app:build_app", "args": dict(config)}]})
    )
    return path


def tape(path: Path, examples: Sequence[Example], column: Sequence[Answer]) -> Path:
    """Return a model's answers as the replay engine plays them back."""
    with path.open("w", encoding="utf-8") as file:
        for example, answer in zip(examples, column, strict=True):
            [message] = Prompts().messages(example.task, example.prompt_inputs)
            body: dict[str, Any] = {"prompt": message.content, "prompt_tokens": answer.prompt_tokens}
            if isinstance(answer, Failure):
                body["error"] = answer.message
            else:
                logprobs = [[item.token, item.logprob] for item in answer.logprobs or ()]
                body |= {"text": answer.text, "finish_reason": answer.finish_reason, "logprobs": logprobs}
            file.write(json.dumps(body) + "\n")
    return path
