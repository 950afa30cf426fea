"""Markup around an answer: code fences and Markdown."""

import re
from collections.abc import Sequence

_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[^`\n]*(?:\n|\Z)", re.MULTILINE)
_MARKDOWN: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"^[ \t]*(?:[-*_][ \t]*){3,}$", re.MULTILINE), ""),  # a rule
    (re.compile(r"^[ \t]*(?:(?:#{1,6}|>|[-*+])[ \t]+)+", re.MULTILINE), ""),  # headings, quotations, bullets
    (re.compile(r"!?\[([^\[\]\n]*)\]\([^()\s]*\)"), r"\1"),  # links and images
    (re.compile(r"\*\*|~~|`+|(?<!\w)__(?=\w)|(?<=[\w.!?)])__(?!\w)"), ""),
    (re.compile(r"(?<![\w*])\*(?=\S)([^*\n]*)(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<!\w)_(?=\S)([^_\n]*)(?<=\S)_(?!\w)"), r"\1"),
)


def without_code_fences(text: str) -> str:
    """Return the text without the lines that open and close code blocks; the code itself stays."""
    return _FENCE.sub("", text).strip()


def without_markdown(text: str) -> str:
    """Return the text without marks of headings, quotations, bullets, emphasis, code and links."""
    for pattern, plain in _MARKDOWN:
        text = pattern.sub(plain, text)
    return text.strip()
