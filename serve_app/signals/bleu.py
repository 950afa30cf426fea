"""`bleu`: sacreBLEU's sentence BLEU, scaled to 0..1. Every text is tokenised and counted once a request."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from serve_app.core.types.signal_range import Range
from serve_app.signals.base import LexicalSignal, SignalOptions

Tokenizer = Callable[[str], list[str]]

_MAX_ORDER = 4
_LONGEST_WORD = 32  # characters of a word worth remembering; in scripts without spaces a "word" is a whole text
_VALUE_DEFAULTS = {"floor": 0.1, "add-k": 1.0}


class BleuConfig(SignalOptions):
    """Sentence BLEU with effective order (Papineni et al., 2002; Chen and Cherry, 2014). Not symmetric."""

    limits: ClassVar[Range | None] = Range(0.0, 1.0)

    kind: Literal["bleu"] = "bleu"
    tokenize: Literal["13a", "intl", "zh", "char", "none"] = Field(
        "13a", description="sacreBLEU's tokeniser; `intl` or `char` for scripts other than Latin, `zh` for Chinese."
    )
    smoothing: Literal["exp", "floor", "add-k", "none"] = Field(
        "exp", description="Replacement of an n-gram precision of 0."
    )
    smoothing_value: float | None = Field(
        None, ge=0, description="For `floor` (default 0.1) and `add-k` (default 1) only."
    )
    lowercase: bool = Field(False, description="Compare without regard to case.")

    @model_validator(mode="after")
    def _value_has_a_use(self) -> "BleuConfig":
        if self.smoothing_value is not None and self.smoothing not in _VALUE_DEFAULTS:
            raise ValueError(f"smoothing_value has no meaning with smoothing {self.smoothing!r}.")
        return self


NgramCounts = tuple[Counter[tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A text's length in tokens, and the count of each of its n-grams, for n = 1 to 4."""

    tokens: int
    ngrams: NgramCounts


class BleuSignal(LexicalSignal[Segment]):
    """Equal to `sacrebleu.sentence_bleu(hypothesis, [reference], use_effective_order=True).score / 100`."""

    symmetric: ClassVar[bool] = False

    def __init__(self, config: BleuConfig, tokenizer: Tokenizer) -> None:
        self._lowercase = config.lowercase
        self._tokenizer = tokenizer
        self._precision = _precision(config)

    def prepare(self, texts: Sequence[str]) -> list[Segment]:
        return [self._segment(text) for text in texts]

    def itself(self, features: Segment) -> float:
        return float(features.tokens > 0)

    def pair(self, first: Segment, second: Segment) -> tuple[float, float]:
        # Clipped counts are min(count, count), so both directions share them.
        matches = _matches(first, second)
        return self._score(matches, first.tokens, second.tokens), self._score(matches, second.tokens, first.tokens)

    def _segment(self, text: str) -> Segment:
        tokens = self._tokenizer((text.lower() if self._lowercase else text).rstrip())
        shifted = [tokens[n:] for n in range(min(_MAX_ORDER, len(tokens)))]
        return Segment(len(tokens), tuple(Counter(zip(*shifted[: n + 1], strict=False)) for n in range(len(shifted))))

    def _score(self, matches: Sequence[int], hypothesis: int, reference: int) -> float:
        """Return BLEU in the steps of `sacrebleu.BLEU.compute_bleu` with effective order, without its result object."""
        if not matches[0]:
            return 0.0
        logs, zeros, orders = 0.0, 0, 0
        for n, matched in enumerate(matches):
            zeros += not matched
            precision = self._precision(n, matched, max(hypothesis - n, 0), zeros)
            if precision is None:
                break
            if precision == 0.0:
                return 0.0
            logs += math.log(precision)
            orders += 1
        brevity = min(0.0, 1.0 - reference / hypothesis)
        return min(1.0, math.exp(brevity + logs / orders))


def _matches(first: Segment, second: Segment) -> list[int]:
    """Count the n-grams that two texts share, for each order."""
    matches = [0] * _MAX_ORDER
    for n, (first_ngrams, second_ngrams) in enumerate(zip(first.ngrams, second.ngrams, strict=False)):
        shared = first_ngrams.keys() & second_ngrams.keys()
        if not shared:
            break  # no shared n-gram, so none of a higher order
        if len(first_ngrams) == first.tokens - n or len(second_ngrams) == second.tokens - n:
            matches[n] = len(shared)  # one of the two repeats no n-gram: the usual case for n > 1
        else:
            matches[n] = sum([min(first_ngrams[ngram], second_ngrams[ngram]) for ngram in shared])
    return matches


Precision = Callable[[int, int, int, int], float | None]


def _precision(config: BleuConfig) -> Precision:
    """Return (order - 1, matched, total, zero precisions so far) -> smoothed precision, or None if total is 0."""
    value = config.smoothing_value
    if value is None:
        value = _VALUE_DEFAULTS.get(config.smoothing, 0.0)
    smoothing = config.smoothing

    def precision(n: int, matched: float, total: float, zeros: int) -> float | None:
        if smoothing == "add-k" and n > 0:
            matched, total = matched + value, total + value
        if total == 0:
            return None
        if matched == 0 and smoothing == "exp":
            return 1.0 / (2.0**zeros * total)
        if matched == 0 and smoothing == "floor":
            return value / total
        return matched / total

    return precision


def _tokenizer(name: str) -> Tokenizer:
    """Return text -> tokens, equal to sacreBLEU's tokeniser of this name."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp

    tokenizer = BLEU(tokenize=name, effective_order=True).tokenizer
    kind: Any = type(tokenizer)
    rules: Any = TokenizerRegexp
    if name == "none":
        return str.split
    if name == "13a":
        return _by_words(partial(rules.__call__.__wrapped__, rules()))

    def tokenize(text: str) -> list[str]:
        tokens: list[str] = tokenizer(text).split()
        # sacreBLEU caches its last 65,536 texts: memory that a server never frees, and users' texts.
        kind.__call__.cache_clear()
        rules.__call__.cache_clear()
        return tokens

    return tokenize


def _by_words(rules: Callable[[str], str]) -> Tokenizer:
    """Return sacreBLEU's `13a`. Its `rules` never look past a space, so each word is split once and remembered."""

    def split(word: str) -> list[str]:
        if word.isalnum():
            return [word]  # the rules split at ASCII punctuation only
        if word[:-1].isalnum() and word[-1] in ".,":
            return [word[:-1], word[-1]]  # and always at one of these two at a word's end
        return rules(f" {word} ").split()

    split_cached = lru_cache(maxsize=2**15)(split)

    def tokenize(text: str) -> list[str]:
        line = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
        if "&" in line:
            line = line.replace("&quot;", '"').replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
        words = (split_cached(word) if len(word) <= _LONGEST_WORD else split(word) for word in line.split())
        return list(chain.from_iterable(words))

    return tokenize


def build(config: BleuConfig) -> BleuSignal:
    """Return the signal for these options."""
    return BleuSignal(config, _tokenizer(config.tokenize))
