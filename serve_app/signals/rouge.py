"""`rouge1`, `rouge2`, `rougeL`: rouge-score's F1. Every text is tokenised once; a compiled kernel finds the LCS."""

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

from pydantic import Field

from serve_app.core.types.signal_range import Range
from serve_app.signals.base import LexicalSignal, SignalOptions

Tokenizer = Callable[[str], list[str]]


class RougeConfig(SignalOptions):
    """ROUGE F1 (Lin, 2004): shared words, shared word pairs, or the longest common subsequence of words."""

    limits: ClassVar[Range | None] = Range(0.0, 1.0)

    kind: Literal["rouge1", "rouge2", "rougeL"]
    stemmer: bool = Field(False, description="Compare Porter stems of words over three letters (English only).")
    tokenize: Literal["default", "unicode"] = Field(
        "default",
        description="`default` is rouge-score's own: ASCII letters and digits only, so that other scripts give 0. "
        "`unicode` takes words of any script, single characters where a script does not space its words.",
    )


@dataclass(frozen=True, slots=True)
class Ngrams:
    """A text's n-grams with their counts, and the total."""

    counts: Counter[tuple[str, ...]]
    total: int


class RougeNSignal(LexicalSignal[Ngrams]):
    """F1 over n-grams of words."""

    symmetric = True

    def __init__(self, order: int, tokenizer: Tokenizer) -> None:
        self._order = order
        self._tokenizer = tokenizer

    def prepare(self, texts: Sequence[str]) -> list[Ngrams]:
        return [self._ngrams(self._tokenizer(text)) for text in texts]

    def itself(self, features: Ngrams) -> float:
        return float(features.total > 0)

    def pair(self, first: Ngrams, second: Ngrams) -> tuple[float, float]:
        first_counts, second_counts = first.counts, second.counts
        shared = sum(
            [min(first_counts[ngram], second_counts[ngram]) for ngram in first_counts.keys() & second_counts.keys()]
        )
        value = _f1(shared, first.total, second.total)
        return value, value

    def _ngrams(self, tokens: list[str]) -> Ngrams:
        counts = Counter(zip(*(tokens[n:] for n in range(self._order)), strict=False))
        return Ngrams(counts, max(len(tokens) - self._order + 1, 0))


class RougeLSignal(LexicalSignal[Sequence[str] | Sequence[int]]):
    """F1 over the longest common subsequence of words, each word one character to rapidfuzz's compiled kernel."""

    symmetric = True

    def __init__(self, tokenizer: Tokenizer, common: Callable[..., int]) -> None:
        self._tokenizer = tokenizer
        self._common = common

    def prepare(self, texts: Sequence[str]) -> list[Sequence[str] | Sequence[int]]:
        vocabulary: dict[str, int] = {}
        return [self._encode(self._tokenizer(text), vocabulary) for text in texts]

    def itself(self, features: Sequence[str] | Sequence[int]) -> float:
        return float(len(features) > 0)

    def pair(self, first: Sequence[str] | Sequence[int], second: Sequence[str] | Sequence[int]) -> tuple[float, float]:
        value = _f1(self._common(first, second), len(first), len(second))
        return value, value

    @staticmethod
    def _encode(tokens: list[str], vocabulary: dict[str, int]) -> Sequence[str] | Sequence[int]:
        codes = [vocabulary.setdefault(token, len(vocabulary)) for token in tokens]
        # With more words than Unicode has code points, plain integers: the same to rapidfuzz, but slower.
        return "".join(map(chr, codes)) if len(vocabulary) <= sys.maxunicode else codes


def _f1(shared: int, first: int, second: int) -> float:
    """Return 2PR / (P + R) for P = shared / first, R = shared / second."""
    return 2.0 * shared / (first + second) if shared else 0.0


class _Spacing(dict[int, str]):
    """The replacement of each code point for `str.translate`, computed at its first use."""

    _UNSPACED = ("CJK ", "HIRAGANA ", "KATAKANA ", "KATAKANA-", "THAI ", "LAO ", "KHMER ", "MYANMAR ")

    def __missing__(self, codepoint: int) -> str:
        self[codepoint] = spaced = self._space(chr(codepoint))
        return spaced

    def _space(self, char: str) -> str:
        category, name = unicodedata.category(char), unicodedata.name(char, "")
        if category in {"Cf", "Me"} or name.startswith("VARIATION SELECTOR"):
            return ""  # joiners, direction marks and emoji styling belong to no word
        if category[0] not in "LMN":
            return " "
        return f" {char} " if name.startswith(self._UNSPACED) else char


def unicode_tokenizer() -> Tokenizer:
    """Return text -> case-folded runs of letters, digits and marks; single characters in scripts without spaces."""
    spacing = _Spacing()
    return lambda text: unicodedata.normalize("NFKC", text).casefold().translate(spacing).split()


def ascii_tokenizer() -> Tokenizer:
    """Return the tokeniser of `rouge_score.tokenize.tokenize`, without its second check of every token."""
    find = re.compile(r"[a-z0-9]+").findall
    return lambda text: find(text.lower())


def _tokenizer(config: RougeConfig) -> Tokenizer:
    tokenize = ascii_tokenizer() if config.tokenize == "default" else unicode_tokenizer()
    if not config.stemmer:
        return tokenize
    from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]

    # Like rouge-score, words of up to three letters are not stemmed. Stemming is slow, and words recur.
    stem = lru_cache(maxsize=2**15)(PorterStemmer().stem)
    return lambda text: [stem(word) if len(word) > 3 else word for word in tokenize(text)]


def build(config: RougeConfig) -> RougeNSignal | RougeLSignal:
    """Return the signal for these options."""
    tokenizer = _tokenizer(config)
    if config.kind == "rougeL":
        from rapidfuzz.distance import LCSseq

        return RougeLSignal(tokenizer, LCSseq.similarity)
    return RougeNSignal(int(config.kind[-1]), tokenizer)
