"""What is asked: prompts from a file, mixed over models and over plain and streaming requests."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import LoadError


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: a cascade's id or a model's name, the user's message, streaming or plain, tokens at most."""

    model: str
    prompt: str
    stream: bool
    max_tokens: int


@dataclass(frozen=True)
class Mix:
    """Draws requests. The n-th is the same in every run with the same seed, whatever the others are."""

    prompts: Sequence[str]
    models: dict[str, float]
    stream_share: float
    max_tokens: int
    seed: int

    def ask(self, number: int, max_tokens: int | None = None) -> Ask:
        """Return the request of a number; prompts are taken in turn, the rest by weight."""
        random_ = random.Random(f"{self.seed}/{number}")
        model = random_.choices(list(self.models), list(self.models.values()))[0]
        stream = random_.random() < self.stream_share
        return Ask(model, self.prompts[number % len(self.prompts)], stream, max_tokens or self.max_tokens)


def read_prompts(path: Path) -> list[str]:
    """Read prompts: JSON Lines of `{"prompt": "..."}`, or a text file with a prompt per line.

    Raises `LoadError` if the file cannot be used.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"--prompts: cannot read {str(path)!r}: {error}.") from error
    parse = _json_prompt if path.suffix == ".jsonl" else _text_prompt
    prompts = [parse(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise LoadError(f"{path}: there are no prompts in it.")
    return prompts


def read_weights(text: str) -> dict[str, float]:
    """`default:3,qwen-1.5b` -> {"default": 3.0, "qwen-1.5b": 1.0}. Raises `LoadError`.

    What follows the last colon is the weight only if it is a number, since a model's name may have a colon.
    """
    weights: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, last = part.rpartition(":")
        weight = _number(last) if name else None
        name, weight = (name, weight) if weight is not None else (part, 1.0)
        if name in weights or weight <= 0:
            raise LoadError(f"--models: {part!r}: every id once, with a weight above 0, such as default:3,qwen-1.5b:1.")
        weights[name] = weight
    if not weights:
        raise LoadError("--models: name at least one id, such as default, or default:3,qwen-1.5b:1.")
    return weights


def _json_prompt(line: str, where: str) -> str:
    try:
        item = json.loads(line)
    except ValueError as error:
        raise LoadError(f"{where}: not JSON: {error}.") from error
    prompt = item.get("prompt") if isinstance(item, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise LoadError(f'{where}: must be an object with a text, such as {{"prompt": "What is a prime number?"}}.')
    return prompt


def _text_prompt(line: str, where: str) -> str:
    return line.strip()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
