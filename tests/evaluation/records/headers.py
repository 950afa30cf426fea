"""Headers as the tests of records write them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serve_app.core.cost import ModelCost
from serve_app.evaluation.records.header import (
    ConfigFacts,
    DataFacts,
    Header,
    ModelFacts,
    PromptFacts,
    SamplingFacts,
    SourceFacts,
)
from serve_app.evaluation.records.lines import encode_line
from tests.evaluation.collecting import MODELS

FACTS = ModelFacts("replay", 1e9, None, ModelCost(1e9, 0.5, 1.5, 2), None, None)


def header(models: Sequence[str] = ("a", "t")) -> Header:
    *members, target = models
    signal = "exact" if len(members) > 1 else "chow_avg"
    tiers = [{"models": members, "signal": signal, "threshold": 0.5}, {"models": [target]}]
    args = {"models": {name: MODELS[name] for name in models}, "cascades": {"default": {"tiers": tiers}}}
    return Header(
        created="2026-11-22T00:00:00+00:00",
        config=ConfigFacts("c", args),
        data=DataFacts("d", 2, ["x.jsonl"]),
        prompts=PromptFacts("p", {"closed_book_qa": "Q: {question}"}),
        sampling=SamplingFacts(0.0, True, {"closed_book_qa": 48}),
        asked=SourceFacts("engines", 4),
        models=dict.fromkeys(models, FACTS),
        versions={"python": "3.11"},
    )


def write(path: Path, *bodies: dict[str, Any]) -> Path:
    path.write_bytes(b"".join(map(encode_line, bodies)))
    return path
