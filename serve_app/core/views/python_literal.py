"""Python literals as values: `[1,2]` and `[1, 2]`, `'a'` and `"a"`, a dict in any order."""

import ast
import warnings
from typing import Any

from serve_app.core.text.characters import whole

_LONGEST = 2000
"""Characters of a literal that is parsed; a longer one is compared as it is written."""
_MOST_QUOTED = 8
"""Literals within literals, as in `"'a'"`."""


def plain_literal(text: str) -> str:
    """Return a text that is a Python literal in one form for each value, and any other text unchanged.

    Values are equal as in Python: 1 and 1.0 are, 1 and "1" in a list are not; dicts and sets have no order.
    True and 1 stay apart, though. Quotation marks around the whole text do not count: in JSON they are easily lost.
    """
    for _ in range(_MOST_QUOTED):
        try:
            value = _evaluated(text.strip()) if len(text) <= _LONGEST else text
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return whole(text)
        if not isinstance(value, str):
            return _form(value)
        if value == text:
            break
        text = value
    return whole(text)


def _evaluated(text: str) -> Any:
    """Return the value of a literal. Raises what `ast.literal_eval` does if the text is not a literal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a model wrote, such as "1or 2", nobody needs a warning
        return ast.literal_eval(text)


def _form(value: Any) -> str:
    match value:
        case dict():
            return f"{{{', '.join(sorted(f'{_form(key)}: {_form(item)}' for key, item in value.items()))}}}"
        case set() if value:
            return f"{{{', '.join(sorted(map(_form, value)))}}}"
        case list():
            return f"[{', '.join(map(_form, value))}]"
        case tuple():
            return f"({', '.join(map(_form, value))}{',' if len(value) == 1 else ''})"
        case float() if value.is_integer():
            return repr(int(value))
        case _:
            return repr(value)
