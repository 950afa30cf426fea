"""`exact`: equality of two texts apart from case, spacing and surrounding punctuation."""

import unicodedata
from collections.abc import Sequence
from typing import ClassVar, Literal

from serve_app.core.types.signal_range import Range
from serve_app.signals.base import LexicalSignal, SignalOptions

_WRAPPING = frozenset("\"'`*¿¡")
_ENDING = frozenset(".,:;!?。、،؛؟।\u06d4")


class ExactConfig(SignalOptions):
    """1 for texts that are equal after normalisation, else 0. For short answers: names, numbers, labels."""

    limits: ClassVar[Range | None] = Range(0.0, 1.0, "equality")

    kind: Literal["exact"] = "exact"


class ExactSignal(LexicalSignal[str]):
    """Equality of normalised texts."""

    symmetric = True

    def prepare(self, texts: Sequence[str]) -> list[str]:
        return [normalise(text) for text in texts]

    def itself(self, features: str) -> float:
        return 1.0

    def pair(self, first: str, second: str) -> tuple[float, float]:
        value = float(first == second)
        return value, value


def normalise(text: str) -> str:
    """Return the text in Unicode NFKC, case folded, with single spaces and without surrounding punctuation.

    Close to SQuAD's normalisation, but for any language: articles stay, and so does punctuation inside. Signs that
    change a value ("-5", "5%", ".5") are not punctuation here. A text of punctuation alone is only folded.
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    start, end = 0, len(folded)
    while start < end and _wraps(folded[start]):
        start += 1
    while start < end and (_wraps(folded[end - 1]) or folded[end - 1] in _ENDING):
        end -= 1
    return folded[start:end] or folded


def _wraps(char: str) -> bool:
    """Return whether a character is a quote, a bracket, Markdown's emphasis or a space."""
    return char in _WRAPPING or char == " " or unicodedata.category(char) in {"Pi", "Pf", "Ps", "Pe"}


def build(config: ExactConfig) -> ExactSignal:
    """Return the signal for these options."""
    return ExactSignal()
