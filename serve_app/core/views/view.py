"""`View`: strip what is markup, take what matters, and write equal values alike."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from serve_app.core.views.json_field import json_field
from serve_app.core.views.latex import boxed, plain_latex
from serve_app.core.views.markdown import without_code_fences, without_markdown
from serve_app.core.views.numbers import last_number, plain_numbers
from serve_app.core.views.python_literal import plain_literal
from serve_app.core.views.take import after, choice, last_match

Strip: TypeAlias = Literal["code_fences", "markdown"]
Normalise: TypeAlias = Literal["latex", "python_literal", "numbers", "case", "whitespace"]


@dataclass(frozen=True, slots=True)
class JsonField:
    """Take the field at a dotted path, such as `result.0.answer`, of the last JSON value that has it."""

    path: str


@dataclass(frozen=True, slots=True)
class After:
    """Take everything after the last occurrence of a mark, such as `Answer:`, in any case."""

    mark: str


@dataclass(frozen=True, slots=True)
class Match:
    """Take the last match of a regular expression: its first group, if it has one."""

    pattern: str


Named: TypeAlias = Literal["last_number", "boxed", "choice"]


@dataclass(frozen=True, slots=True)
class Chain:
    """Take a part, and of it `then`, if it has one: of `{"answer": "18 dollars"}` the number in the field."""

    first: JsonField | After | Match
    then: Named


Take: TypeAlias = Named | JsonField | After | Match | Chain

_STRIP: dict[Strip, Callable[[str], str]] = {"code_fences": without_code_fences, "markdown": without_markdown}
_TAKE: dict[str, Callable[[str], str | None]] = {"last_number": last_number, "boxed": boxed, "choice": choice}
# Applied in this order, in whatever order they are written: each makes what the next one reads.
_NORMALISE: dict[Normalise, Callable[[str], str]] = {
    "latex": plain_latex,
    "python_literal": plain_literal,
    "numbers": plain_numbers,
    "case": str.casefold,
    "whitespace": lambda text: re.sub(r"\s+", " ", text).strip(),
}


@dataclass(frozen=True, slots=True)
class View:
    """What of an answer is compared; the answer itself stays as it is.

    The first of `take` that the text has is taken. `otherwise` says what is compared if it has none: all, or nothing.
    """

    strip: tuple[Strip, ...] = ()
    take: tuple[Take, ...] = ()
    normalise: tuple[Normalise, ...] = ()
    otherwise: Literal["whole", "empty"] = "whole"

    def of(self, text: str) -> str:
        """Return what is compared of a text. Never raises; takes time linear in the length of the text.

        Only a `Match` takes as long as its pattern does.
        """
        for name, strip in _STRIP.items():
            if name in self.strip:
                text = strip(text)
        parts = (part for take in self.take if (part := _part_of(take, text)) is not None)
        part = next(parts, "" if self.take and self.otherwise == "empty" else text)
        for rule, normalise in _NORMALISE.items():
            if rule in self.normalise:
                part = normalise(part)
        return part


def _part_of(take: Take, text: str) -> str | None:
    """Return the part that matters, or None if the text has none."""
    match take:
        case JsonField(path):
            return json_field(text, path)
        case After(mark):
            return after(text, mark)
        case Match(pattern):
            return last_match(text, pattern)
        case Chain(first, then):
            part = _part_of(first, text)
            return part if part is None or (inner := _part_of(then, part)) is None else inner
        case _:
            return _TAKE[take](text)
