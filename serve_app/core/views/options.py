"""The words by which users and clients write what a view takes."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from serve_app.core.views.view import After, Chain, JsonField, Match, Named, Take
from serve_app.errors import choices, quoted

TakeOption: TypeAlias = str | Mapping[str, str]
"""A name, or one option with its value and what to take of it: `boxed`, `{json: answer, then: last_number}`."""
_NAMED: tuple[Named, ...] = ("last_number", "boxed", "choice")
_WITH_VALUE: Mapping[str, type[JsonField | After | Match]] = {"json": JsonField, "after": After, "regex": Match}
_THEN = "then"


def takes(options: TakeOption | Sequence[TakeOption] | None, *, patterns: bool = True) -> tuple[Take, ...]:
    """Return what a view takes, in the order of preference. Raises ValueError if an option cannot be used.

    Without `patterns` regular expressions are refused: one can be written that takes indefinitely long.
    """
    if options is None:
        return ()
    listed = [options] if isinstance(options, str | Mapping) else options
    return tuple(_take(option, patterns) for option in listed)


def _take(option: TakeOption, patterns: bool) -> Take:
    if isinstance(option, str) and (name := _named(option)):
        return name
    kinds = [kind for kind in _WITH_VALUE if patterns or kind != "regex"]
    values = {} if isinstance(option, str) else {kind: value for kind, value in option.items() if kind != _THEN}
    option_kind = option if isinstance(option, str) else next(iter(values), "")
    if len(values) != 1 or option_kind not in kinds:
        available = choices(option_kind, [*map(str, _NAMED), *(f"{{{kind}: ...}}" for kind in kinds)])
        raise ValueError(f"cannot be {quoted(option_kind)}. {available}".rstrip("."))
    [(kind, value)] = values.items()
    if not value:
        raise ValueError(f"{kind}: needs a text that is not empty")
    if kind == "regex":
        _check_pattern(value)
    part = _WITH_VALUE[kind](value)
    if isinstance(option, str) or _THEN not in option:
        return part
    if (then := _named(option[_THEN])) is None:
        raise ValueError(f"{_THEN}: cannot be {quoted(option[_THEN])}. {choices(option[_THEN], _NAMED)}".rstrip("."))
    return Chain(part, then)


def _named(option: str) -> Named | None:
    return next((name for name in _NAMED if name == option), None)


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"regex: {quoted(pattern)} is not a regular expression: {error}") from None
