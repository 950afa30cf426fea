"""What is asked: prompts, mixed over models and over plain and streaming requests."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

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


def read_weights(text: str) -> dict[str, float]:
    """Read `default:3,qwen-1.5b` as {"default": 3.0, "qwen-1.5b": 1.0}. Raises `LoadError`.

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


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
