"""Texts of others on the terminal: on one line, and without what controls it."""

import unicodedata
from typing import TYPE_CHECKING, Any, TypeAlias

from serve_app.core.text.characters import whole

if TYPE_CHECKING:
    from rich.text import Text


Body: TypeAlias = dict[str, Any]
"""A JSON body of a request or a response."""


def one_line(text: str, style: str) -> "Text":
    """Return text on one line, cut to its column's width. (Rich narrows only columns that it believes can wrap.)"""
    from rich.text import Text

    indent = text[: len(text) - len(text.lstrip(" "))]
    return Text(indent + " ".join(clean(text).split()), style, no_wrap=True, overflow="ellipsis")


def decimal(value: float | None, digits: int = 2) -> str:
    """Return a number with so many digits after the point."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def signature(name: str, arguments: str) -> str:
    """Return a tool call as code would write it."""
    return f"{name}({arguments})"


def clean(text: str) -> str:
    """Remove control characters, so that a model's text cannot control the terminal, and halves of surrogate pairs."""
    return "".join(sign for sign in whole(text) if sign in "\n\t" or unicodedata.category(sign) != "Cc")
