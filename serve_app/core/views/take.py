"""What matters of an answer: the letter of a choice, what follows a mark, what a pattern matches."""

import re

_CHOICES: tuple[re.Pattern[str], ...] = (
    re.compile(r"\\boxed\{\s*(?:\\text\{)?\s*\(?([A-Za-z])\)?\s*\}"),
    re.compile(
        r"(?i:\b(?:answer|option|choice)\b(?:\s+is)?)[\s*:]*[(\[]?([A-Z])(?:[)\].:,;*]|\s*\Z|\s*\n|\s(?<![AI]\s))"
    ),
    re.compile(r"\A[\s*]*[(\[]?([A-Za-z])[)\]]?[.:]?[\s*]*\Z"),
    re.compile(r"\A[\s*]*(?:[(\[]([A-Za-z])[)\]]|([A-Z])[).:])(?!\w)"),
    re.compile(r"\(([A-Z])\)"),
)
"""In the order of their certainty: the first that occurs counts, and of it the last occurrence."""
_LONGEST = 20_000
"""Characters, from the end, that an operator's pattern is searched in."""


def choice(text: str) -> str | None:
    """Return the letter of a multiple-choice answer in upper case, or None: `(B)`, `B.`, `Answer: B`."""
    for pattern in _CHOICES:
        *_, last = (None, *pattern.finditer(text))
        if last is not None:
            return next(letter for letter in last.groups() if letter).upper()
    return None


def after(text: str, mark: str) -> str | None:
    """Return what follows the last occurrence of the mark, in any case, without spaces around; None if it is empty."""
    *_, end = (-1, *(match.end() for match in re.finditer(re.escape(mark), text, re.IGNORECASE)))
    return None if end < 0 else text[end:].strip() or None


def last_match(text: str, pattern: str) -> str | None:
    """Return the first group of the last match, or the whole match if the pattern has no group; None without a match.

    Only the end of a long text is searched.
    """
    *_, last = (None, *re.finditer(pattern, text[-_LONGEST:]))
    return None if last is None else last[1 if last.re.groups else 0]
