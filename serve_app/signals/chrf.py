"""`chrf`: sacreBLEU's sentence chrF, scaled to 0..1. Every text's n-grams are counted once a request."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from pydantic import Field

from serve_app.core.types.signal_range import Range
from serve_app.signals.base import LexicalSignal, SignalOptions

_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_EPS = 1e-16


class ChrfConfig(SignalOptions):
    """Character n-gram F-score (Popovic, 2015, 2017). For rich morphology and any script. Not symmetric."""

    limits: ClassVar[Range | None] = Range(0.0, 1.0)

    kind: Literal["chrf"] = "chrf"
    char_order: int = Field(6, ge=1, le=100, description="The longest character n-grams that count.")
    word_order: int = Field(0, ge=0, le=100, description="The longest word n-grams that count; 2 makes it chrF++.")
    beta: int = Field(2, ge=0, le=100, description="How many times as much recall counts as precision does.")
    lowercase: bool = Field(False, description="Compare without regard to case.")
    whitespace: bool = Field(False, description="Let character n-grams reach over spaces.")
    eps_smoothing: bool = Field(False, description="Count orders that a text is too short for, as chrF++.py does.")


@dataclass(frozen=True, slots=True)
class Ngrams:
    """A text's n-grams of one order: their number, the distinct ones, and the counts of those that repeat."""

    total: int
    distinct: frozenset[str]
    repeated: dict[str, int]


Segment: TypeAlias = tuple[Ngrams, ...]
"""Character n-grams by order, then word n-grams by order."""


class ChrfSignal(LexicalSignal[Segment]):
    """Equal to `sacrebleu.sentence_chrf(hypothesis, [reference]).score / 100`."""

    symmetric: ClassVar[bool] = False

    def __init__(self, config: ChrfConfig) -> None:
        self._config = config

    def prepare(self, texts: Sequence[str]) -> list[Segment]:
        return [tuple(self._orders(text.lower() if self._config.lowercase else text)) for text in texts]

    def itself(self, features: Segment) -> float:
        totals = [ngrams.total for ngrams in features]
        return self._score(totals, totals, totals)

    def pair(self, first: Segment, second: Segment) -> tuple[float, float]:
        # Clipped counts are min(count, count), so both directions share them.
        matches = [_matches(*ngrams) for ngrams in zip(first, second, strict=True)]
        first_totals, second_totals = [ngrams.total for ngrams in first], [ngrams.total for ngrams in second]
        return self._score(matches, first_totals, second_totals), self._score(matches, second_totals, first_totals)

    def _orders(self, text: str) -> Iterator[Ngrams]:
        chars = text if self._config.whitespace else "".join(text.split())
        for n in range(1, self._config.char_order + 1):
            yield _count([chars[i : i + n] for i in range(len(chars) - n + 1)])
        words = _words(text) if self._config.word_order else []
        for n in range(1, self._config.word_order + 1):
            yield _count([" ".join(words[i : i + n]) for i in range(len(words) - n + 1)])

    def _score(self, matches: Sequence[int], hypothesis: Sequence[int], reference: Sequence[int]) -> float:
        """Return chrF in the steps of `sacrebleu.CHRF._compute_f_score`."""
        smooth = self._config.eps_smoothing
        precisions, recalls, scores, orders = 0.0, 0.0, 0.0, 0
        for matched, hypothesis_total, reference_total in zip(matches, hypothesis, reference, strict=True):
            if hypothesis_total and reference_total:
                precisions += matched / hypothesis_total
                recalls += matched / reference_total
                orders += 1
            if smooth:
                # Like sacreBLEU: an order that the reference lacks counts as one that the hypothesis lacks, too.
                scores += self._f(
                    matched / hypothesis_total if hypothesis_total and reference_total else _EPS,
                    matched / reference_total if reference_total else _EPS,
                )
        if smooth:
            return min(1.0, scores / len(matches))
        return min(1.0, self._f(precisions / orders, recalls / orders)) if precisions else 0.0

    def _f(self, precision: float, recall: float) -> float:
        """Return F-beta, or sacreBLEU's epsilon if nothing is in common."""
        factor = self._config.beta**2
        below = factor * precision + recall
        return (1 + factor) * precision * recall / below if below > 0 else _EPS


def _count(ngrams: list[str]) -> Ngrams:
    counts = Counter(ngrams)
    repeated = {ngram: count for ngram, count in counts.items() if count > 1} if len(counts) < len(ngrams) else {}
    return Ngrams(len(ngrams), frozenset(counts), repeated)


def _matches(first: Ngrams, second: Ngrams) -> int:
    """Count the n-grams that two texts share: each distinct one once, and again for each time both repeat it."""
    shared = len(first.distinct & second.distinct)
    first_counts, second_counts = first.repeated, second.repeated
    return shared + sum(
        [min(first_counts[ngram], second_counts[ngram]) - 1 for ngram in first_counts.keys() & second_counts.keys()]
    )


def _words(text: str) -> list[str]:
    """Split words, each from one ASCII punctuation mark at its end or, if it has none, at its beginning."""
    words: list[str] = []
    for word in text.split():
        if len(word) > 1 and word[-1] in _PUNCTUATION:
            words += (word[:-1], word[-1])
        elif len(word) > 1 and word[0] in _PUNCTUATION:
            words += (word[0], word[1:])
        else:
            words.append(word)
    return words


def build(config: ChrfConfig) -> ChrfSignal:
    """Return the signal for these options."""
    return ChrfSignal(config)
