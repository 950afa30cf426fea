"""Whether two texts contradict each other, as their words show: English by default.

Each check prefers a miss to a false alarm: texts contradict only if both have something of a kind (numbers, names, ...)
and each lacks some of the other's. The words of longer texts are compared sentence by sentence.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import combinations, islice
from typing import Literal, TypeAlias

from serve_app.core.views.numbers import numbers
from serve_app.core.views.take import choice
from serve_app.signals.composites.english import ANTONYMS, COMMON, NEGATION, NEGATIVE_PREFIXES, NO, NUMBERS, YES

Name: TypeAlias = tuple[str, ...]
"""The words of a name, in lower case."""
Check: TypeAlias = Literal["numbers", "negation", "names", "choice"]

_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_WORD = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*")
_ALIKE = 0.6
"""Share of the smaller sentence's words that another must have for its negation to count."""
_MOST_SENTENCES = 30
"""Of a longer text only the first are compared, so that long answers take no quadratic time."""
_MOST_NUMBERS = _MOST_NAMES = 100
"""Limit of the numbers, and of the names, that are compared."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a language that the checks know, in lower case."""

    negation: frozenset[str] = NEGATION
    antonyms: frozenset[tuple[str, str]] = ANTONYMS
    yes: frozenset[str] = YES
    no: frozenset[str] = NO
    numbers: Mapping[str, int] = field(default_factory=lambda: NUMBERS)
    common: frozenset[str] = COMMON


@dataclass(frozen=True, slots=True)
class _Sentence:
    words: frozenset[str]
    negated: bool


@dataclass(frozen=True, slots=True)
class _Features:
    numbers: frozenset[str]
    sentences: tuple[_Sentence, ...]
    reply: Literal["yes", "no"] | None
    names: tuple[Name, ...]
    beginnings: tuple[Name, ...]
    choice: str | None


class Contradictions:
    """Finds texts that contradict each other by some of the checks."""

    def __init__(self, checks: Sequence[Check], words: Words) -> None:
        self._checks = checks
        self._words = words
        self._opposites: dict[str, set[str]] = {}
        for first, second in words.antonyms:
            self._opposites.setdefault(first, set()).add(second)
            self._opposites.setdefault(second, set()).add(first)

    def pairs(self, texts: Sequence[str]) -> set[tuple[int, int]]:
        """Return the pairs (i, j), i < j, of texts that contradict each other."""
        features = [self._features(text) for text in texts]
        return {
            (i, j)
            for i, j in combinations(range(len(texts)), 2)
            if texts[i] != texts[j] and self._contradict(features[i], features[j])
        }

    def _features(self, text: str) -> _Features:
        text = text.replace("\u2019", "'")
        sentences = [words for part in _SENTENCE.split(text)[:_MOST_SENTENCES] if (words := _WORD.findall(part))]
        lowered = [[word.casefold() for word in words] for words in sentences]
        return _Features(
            self._numbers(text, lowered) if "numbers" in self._checks else frozenset(),
            tuple(map(self._sentence, lowered)) if "negation" in self._checks else (),
            self._reply(lowered),
            tuple(islice(self._all_names(sentences), _MOST_NAMES)) if "names" in self._checks else (),
            tuple((_bare(words[0]),) for words in sentences),
            choice(text) if "choice" in self._checks else None,
        )

    def _contradict(self, first: _Features, second: _Features) -> bool:
        return (
            (first.choice is not None and second.choice is not None and first.choice != second.choice)
            or _differ(first.numbers, second.numbers)
            or ("negation" in self._checks and self._negate(first, second))
            or (_names_another(first, second) and _names_another(second, first))
        )

    def _numbers(self, text: str, sentences: Sequence[Sequence[str]]) -> frozenset[str]:
        values = self._words.numbers
        spelled = {str(values[word]) for words in sentences for word in words if word in values}
        return frozenset(islice(numbers(text), _MOST_NUMBERS)) | spelled

    def _reply(self, sentences: Sequence[Sequence[str]]) -> Literal["yes", "no"] | None:
        first = sentences[0][0] if sentences else ""
        if first in self._words.yes:
            return "yes"
        return "no" if first in self._words.no else None

    def _sentence(self, words: Sequence[str]) -> _Sentence:
        """Return the words except those that negate, and whether their number is odd; a reply is not a negation."""
        content_words = words[1:] if words[0] in self._words.yes | self._words.no else words
        negations = [word for word in content_words if word in self._words.negation or word.endswith("n't")]
        verbs = {word.removesuffix("n't") for word in negations if word.endswith("n't")}
        return _Sentence(frozenset(content_words) - frozenset(negations) | verbs, len(negations) % 2 == 1)

    def _negate(self, first: _Features, second: _Features) -> bool:
        if first.reply and second.reply and first.reply != second.reply:
            return True
        for sentence in first.sentences:
            nearest = max(second.sentences, key=lambda candidate: _alikeness(sentence, candidate), default=None)
            if nearest is not None and _alikeness(sentence, nearest) >= _ALIKE:
                opposed = self._opposed(sentence.words - nearest.words, nearest.words - sentence.words)
                if (sentence.negated != nearest.negated) != opposed:
                    return True
        return False

    def _opposed(self, first: frozenset[str], second: frozenset[str]) -> bool:
        """Return whether one of the words has its opposite among the others: by the list, or by a prefix."""
        listed = any(not second.isdisjoint(self._opposites.get(word, ())) for word in first)
        return listed or _prefixed(first, second) or _prefixed(second, first)

    def _all_names(self, sentences: Sequence[Sequence[str]]) -> Iterator[Name]:
        return (name for words in sentences for name in self._names(words))

    def _names(self, words: Sequence[str]) -> list[Name]:
        """Return the runs of capitalised words. The first word of a sentence counts only if it is certainly a name."""
        names: list[list[str]] = []
        previous = -2
        for k, word in enumerate(words):
            if not word[0].isupper() or word.casefold() in self._words.common:
                continue
            if k == 0 and not _begins_with_name(words):
                continue
            if previous == k - 1:
                names[-1].append(word)
            else:
                names.append([word])
            previous = k
        return [tuple(map(_bare, name)) for name in names if name[1:] or len(name[0]) > 1]


def _differ(first: frozenset[str], second: frozenset[str]) -> bool:
    """Return whether each text has a number that the other lacks; a rounded number counts as the same."""
    return _lacks(first, second) and _lacks(second, first)


def _lacks(first: frozenset[str], second: frozenset[str]) -> bool:
    return any(a not in second and not any(_rounded(a, b) for b in second) for a in first)


def _rounded(first: str, second: str) -> bool:
    """Return whether two numbers in their shortest form are equal, or one is the other with fewer decimal places."""
    if first == second:
        return True
    if "/" in first or "/" in second or "." not in first + second or len(first) + len(second) > 40:
        return False
    a, b = Decimal(first), Decimal(second)
    places = min(_places(first), _places(second))
    return bool(places) and round(a, places) == round(b, places)


def _places(number: str) -> int:
    return len(number.partition(".")[2])


def _alikeness(first: _Sentence, second: _Sentence) -> float:
    """Return the share of the smaller sentence's words that the other has."""
    smaller = min(len(first.words), len(second.words))
    return len(first.words & second.words) / smaller if smaller else 0.0


def _prefixed(words: frozenset[str], opposed_words: frozenset[str]) -> bool:
    """Return whether one of the opposed words is one of `words` with a prefix that negates."""
    prefixes = NEGATIVE_PREFIXES.items()
    return any(prefix + word in opposed_words for word in words for prefix, least in prefixes if len(word) >= least)


def _begins_with_name(words: Sequence[str]) -> bool:
    """Return whether a sentence begins with a name: it is short, or goes on with another name or with a verb."""
    return len(words) <= 3 or words[1][0].isupper() or words[1] in ("is", "was", "has", "had")


def _bare(word: str) -> str:
    return word.casefold().removesuffix("'s").replace(".", "")


def _names_another(first: _Features, second: _Features) -> bool:
    """Return whether a text has a name that the other lacks; a part of a name, or its initials, counts as the same."""
    names_of_second = second.names + second.beginnings
    return any(not any(_same(name, other_name) for other_name in names_of_second) for name in first.names)


def _same(first: Name, second: Name) -> bool:
    return (
        all(_explained(part, second) for part in first)
        or all(_explained(part, first) for part in second)
        or _initials(first) == "".join(second)
        or _initials(second) == "".join(first)
    )


def _explained(part: str, name: Name) -> bool:
    """Return whether a part of a name is in another: whole, or as an initial."""
    return part in name or any(part == name_part[0] or name_part == part[0] for name_part in name)


def _initials(name: Name) -> str:
    return "".join(part[0] for part in name)
