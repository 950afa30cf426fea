r"""LaTeX as plain text: what is in the box, and fractions, roots and texts without their commands."""

import re
from collections.abc import Callable, Sequence

_BOX = re.compile(r"\\boxed\s*(?=[{\w\\])|\\fbox\s*(?=\{)")
_TOKEN = re.compile(r"\\?\w+")
_BRACKET = re.compile(r"\\.|[{}]", re.DOTALL)
_DOUBLED = re.compile(r"\{([^{}]*)\}")
_DEEPEST = 20
"""Levels of braces that are resolved; what is nested deeper stays as it is."""
_SIMPLE = re.compile(r"[\w.]+|\w+\([^()]*\)")

_BARE_FRACTION = re.compile(r"\\[dtc]?frac\s*([0-9a-zA-Z])\s*([0-9a-zA-Z])")
_FRACTION = re.compile(r"(\d?)\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_ROOT = re.compile(r"\\sqrt\s*(\[[^\[\]{}]*\])?\s*(?:\{([^{}]*)\}|([0-9a-zA-Z]))")
_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mathsf|mbox|operatorname|boxed|fbox)"
    r"\s*\{([^{}]*)\}"
)
_RAISED = re.compile(r"([\^_])\s*\{([^{}]*)\}")
_NESTED: Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = (
    (_WRAPPED, lambda part: part[1]),
    (_ROOT, lambda part: f"sqrt{part[1] or ''}({(part[2] or part[3] or '').strip()})"),
    (_BARE_FRACTION, lambda part: f"\\frac{{{part[1]}}}{{{part[2]}}}"),
    (_FRACTION, lambda part: f"{part[1]}{' ' if part[1] else ''}{_grouped(part[2])}/{_grouped(part[3])}"),
    (_RAISED, lambda part: f"{part[1]}{_grouped(part[2])}"),
)
_FLAT: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])\s*\.?"), ""),
    (re.compile(r"\\(?:,|;|:|!|(?:q?quad|displaystyle)(?![a-zA-Z]))"), " "),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" ?\^ ?\(?\\circ\)?|°"), ""),
    (re.compile(r"\\(?:cdot|times)(?![a-zA-Z])\s*"), "*"),
    (re.compile(r"\\div(?![a-zA-Z])\s*"), "/"),
    (re.compile(r"\\(pi|theta|alpha|beta|infty)(?![a-zA-Z])"), r"\1"),
    (re.compile(r"\\[()\[\]]|(?<!\\)\${1,2}(?![0-9])|(?<![\\\s$])\$|(?<!\\)\$(?=[^$\n]*\$)"), ""),
    (re.compile(r"\\([%$&#{}])"), r"\1"),
    (re.compile(r" ?([+*/^=<>]) ?"), r"\1"),
    (re.compile(r"(?<=[(\[]) | (?=[)\]])"), ""),
    (re.compile(r"(?<=[\w)\]]),(?=[^\s])(?![0-9]{3}(?![0-9]))"), ", "),
)


def boxed(text: str) -> str | None:
    r"""Return what the last `\boxed{...}` holds, braces within braces included, or None if it is absent or open."""
    *_, start = (-1, *(box.end() for box in _BOX.finditer(text)))
    if start < 0:
        return None
    if text[start] != "{":
        token = _TOKEN.match(text, start)
        return token[0] if token else None
    depth = 0
    for bracket in _BRACKET.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(bracket[0], 0)
        if depth == 0 and bracket[0] == "}":
            part = text[start + 1 : bracket.start()].strip()
            doubled = _DOUBLED.fullmatch(part)
            return doubled[1] if doubled else part
    return None


def plain_latex(text: str) -> str:
    r"""Return the text with `\frac{a}{b}` as a/b, `\sqrt{a}` as sqrt(a), `\text{a}` as a, without `\left` or dollars.

    White space around operators goes, since it means nothing in formulas. Unknown commands stay.
    """
    for _ in range(_DEEPEST):
        before = text
        for pattern, plain in _NESTED:
            text = pattern.sub(plain, text)
        if text == before:
            break
    for flat, replacement in _FLAT:
        text = flat.sub(replacement, text)
    return text.strip()


def _grouped(part: str) -> str:
    part = part.strip()
    return part if _SIMPLE.fullmatch(part) else f"({part})"
