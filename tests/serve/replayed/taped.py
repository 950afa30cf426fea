"""Cascades of models that play recorded answers back, to compare what is decided online with what is offline."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.evaluation.records.example import Example
from tests.evaluation.synthetic import answers, questions, tape

PLAYS = {"first": "small", "second": "tiny", "odd": "odd", "target": "large"}
"""Whose answers each model plays. All but `odd` are scripted models, too: each takes seconds to start."""
*MEMBERS, TARGET = PLAYS
COUNT = 60
ZSCORES = {name: {"mean": -0.5 - 0.1 * k, "std": 0.4 + 0.1 * k} for k, name in enumerate(MEMBERS)}
SIGNALS = {
    "taped-mix": {"kind": "mix", "parts": [{"signal": "rouge1", "weight": 3}, {"signal": "exact"}]},
    "taped-chow": {"kind": "chow_avg", "zscores": ZSCORES},
    "taped-veto": {"kind": "veto", "signal": "rouge1", "floor": 0.1},
    "taped-blend": {"kind": "blend", "agreement": "taped-mix", "confidence": "taped-chow"},
}
TIERS: dict[str, dict[str, Any]] = {
    "taped": {"signal": "rougeL", "threshold": 0.5},
    "taped-strict": {
        "signal": "chrf",
        "threshold": 0.35,
        "agreement": "mean",
        "truncated": "discard",
        "min_answers": 3,
    },
    "taped-fixed": {"signal": "taped-mix", "threshold": 0.5, "select": "second", "direction": "hypothesis"},
    "taped-viewed": {
        "signal": "taped-veto",
        "threshold": 0.5,
        "compare": {"take": {"after": "the "}, "normalise": ["case"]},
    },
    "taped-chow": {"signal": "taped-chow", "threshold": 0.2},
    "taped-blend": {"signal": "taped-blend", "threshold": 0.8},
}


@dataclass(frozen=True)
class Taped:
    """The questions, each model's answers to them, and the files of these answers that the models play back."""

    examples: list[Example]
    answers: Mapping[str, list[Answer]]
    tapes: Mapping[str, Path]

    def args(self, scripted: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of the application that has these models, as `args` of a config, with their scripts."""
        plain = {"engine": "replay", "parameters": 1e9}
        models = {name: scripted.get(name, plain) | {"records": str(path)} for name, path in self.tapes.items()}
        tiers = {id_: {"models": MEMBERS} | tier for id_, tier in TIERS.items()}
        cascades = {id_: {"tiers": [tier, {"models": [TARGET]}]} for id_, tier in tiers.items()}
        return {"models": models, "signals": SIGNALS, "cascades": cascades}


def write_tapes(folder: Path) -> Taped:
    """Write the tapes. Some answers are failures, some empty, some cut short; the target always answers."""
    examples = questions(COUNT)
    drawn = answers(list(PLAYS.values()), examples, seed=3)
    columns = {name: drawn[player] for name, player in PLAYS.items()}
    columns[TARGET] = [
        Generation("large", "stop", 1, 1) if isinstance(answer, Failure) else answer for answer in columns[TARGET]
    ]
    tapes = {name: tape(folder / f"{name}.jsonl", examples, column) for name, column in columns.items()}
    return Taped(examples, columns, tapes)
