"""`json`: the share of leaves that two structured answers have in common, however they are formatted.

A text's JSON is the first of these that applies:

1. the whole text is one JSON value;
2. Markdown fences (```` ```json ````, with another tag or none) that hold one JSON value each;
3. objects anywhere in the text, and arrays that hold one, such as between `<tool_call>` tags or one a line. They need a
   key: `{}`, `[1]` and `{x}` are punctuation in prose, and two texts do not agree because both cite source `[1]`.

JSON is what Python's `json.loads` reads (NaN and infinities included), at any depth and with numbers of any length.

A leaf is a path (the number of the value in the text, then keys and array indices) with a scalar or an empty object
or array at its end. Values are equal if they are the same JSON value: 1, 1.0 and 10e-1, or "é" and "\\u00e9", but not
1, "1" and true. NaN equals NaN. Of equal keys in one object the last counts, as in every common parser. A string that
holds an object or an array (a tool call's `arguments`) is parsed. The order of an array counts, that of keys does not.
A text without JSON is a single leaf of another kind: two such texts score 1 if they are equal apart from surrounding
spaces, else 0, and 0 against any text that has JSON.
"""

import json
import re
from collections.abc import Sequence
from typing import ClassVar, Literal, TypeAlias

from serve_app.core.types.signal_range import Range
from serve_app.signals.base import LexicalSignal, SignalOptions

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str
"""A value; a scalar is a string that shows its type: `"text`, `1e0`, `true`."""

Leaves: TypeAlias = frozenset[tuple[int, str]]
"""Path numbers with their values; a set suffices, since each path occurs once."""

_STRING = r'"(?P<string>[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*)"'
_VALUE = re.compile(
    rf"[ \t\n\r]*(?:{_STRING}|(?P<open>[\[{{])|(?P<word>true|false|null|NaN|-?Infinity)"
    r"|(?P<number>(?P<minus>-?)(?P<whole>0|[1-9][0-9]*)(?:\.(?P<fraction>[0-9]+))?(?:[eE](?P<exponent>[+-]?[0-9]+))?))"
)
_KEY = re.compile(rf"[ \t\n\r]*{_STRING}[ \t\n\r]*:")
_NEXT = re.compile(r"[ \t\n\r]*([,\]}])")
_BRACKET = re.compile(r"[\[{]")
_KEYED = re.compile(r'\{[ \t\n\r]*"')
_QUOTED = re.compile(r'"\s*[\[{]')
_FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)^[ \t]*```", re.MULTILINE | re.DOTALL)
_LONGEST_EXPONENT = 19  # digits, sign included; no meaningful number has more


class JsonConfig(SignalOptions):
    """Shared leaves over all leaves (Jaccard index) of two JSON texts. For structured answers and tool calls."""

    limits: ClassVar[Range | None] = Range(0.0, 1.0)

    kind: Literal["json"] = "json"


class JsonSignal(LexicalSignal[Leaves]):
    """The share of equal leaves."""

    symmetric: ClassVar[bool] = True

    def prepare(self, texts: Sequence[str]) -> list[Leaves]:
        paths: dict[tuple[int, str | int], int] = {}
        return [_leaves(text, paths) for text in texts]

    def itself(self, features: Leaves) -> float:
        return 1.0

    def pair(self, first: Leaves, second: Leaves) -> tuple[float, float]:
        shared = len(first & second)
        value = shared / (len(first) + len(second) - shared)
        return value, value


def _leaves(text: str, paths: dict[tuple[int, str | int], int]) -> Leaves:
    """Return the leaves of all values in a text. `paths` numbers each path by (number of its parent, step)."""
    values = find_json(text)
    if not values:
        return frozenset([(0, text.strip())])
    leaves: set[tuple[int, str]] = set()
    pending: list[tuple[int, Json]] = []
    for step, value in enumerate(values):
        pending.append((paths.setdefault((0, step), len(paths) + 1), value))
    while pending:
        path, value = pending.pop()
        if isinstance(value, str) and _QUOTED.match(value) and (inside := _whole(value[1:])) is not None:
            value = inside
        if isinstance(value, str) or not value:
            leaves.add((path, value if isinstance(value, str) else repr(value)))
            continue
        steps = value.items() if isinstance(value, dict) else enumerate(value)
        pending += [(paths.setdefault((path, step), len(paths) + 1), inner) for step, inner in steps]
    return frozenset(leaves)


def find_json(text: str) -> list[Json]:
    """Return the JSON values of a text, in order, by the rules above; empty if it has none."""
    if (value := _whole(text)) is not None:
        return [value]
    fenced = [value for fence in _FENCE.findall(text) if (value := _whole(fence)) is not None]
    return fenced or _embedded(text)


def _whole(text: str) -> Json | None:
    """Return the value that is the whole text, or None."""
    text = text.strip()
    result = _read(text, 0, [])
    return result[0] if result and result[1] == len(text) else None


def _embedded(text: str) -> list[Json]:
    """Return the outermost objects and arrays with a key in them, in time linear in the text's length."""
    values: list[Json] = []
    hopeless: set[int] = set()
    at = 0
    while bracket := _BRACKET.search(text, at):
        start, at = bracket.span()
        if start in hopeless:
            continue
        opened: list[int] = []
        if result := _read(text, start, opened):
            value, at = result
            if _KEYED.search(text, start, at):
                values.append(value)
        else:
            # A bracket still open where parsing failed fails there from any other start, too.
            hopeless.update(opened)
    return values


def _read(text: str, at: int, opened: list[int]) -> tuple[Json, int] | None:
    """Return the JSON value that begins at `at` and its end, or None; `opened` then has the brackets left open.

    A loop instead of recursion, since models can nest deeper than the stack allows.
    """
    around: list[dict[str, Json] | list[Json]] = []
    keys: list[str] = []
    while True:
        if around and isinstance(around[-1], dict):
            if (key := _KEY.match(text, at)) is None:
                return None
            keys.append(_string(key["string"]))
            at = key.end()
        if (token := _VALUE.match(text, at)) is None:
            return None
        value, at = _value(token), token.end()
        if not isinstance(value, str):
            opened.append(at - 1)
            empty = _NEXT.match(text, at)
            if empty is None or empty[1] != _closing(value):
                around.append(value)
                continue
            opened.pop()
            at = empty.end()
        while around:
            outer = around[-1]
            if isinstance(outer, dict):
                outer[keys.pop()] = value
            else:
                outer.append(value)
            sign = _NEXT.match(text, at)
            if sign is None or sign[1] not in (",", _closing(outer)):
                return None
            at = sign.end()
            if sign[1] == ",":
                break
            value = around.pop()
            opened.pop()
        else:
            return value, at


def _value(token: re.Match[str]) -> Json:
    """Return a scalar as a string that shows its type, or the still empty container that opens here."""
    if token.lastgroup == "open":
        return {} if token["open"] == "{" else []
    if token.lastgroup == "string":
        return f'"{_string(token["string"])}'
    return token["word"] if token.lastgroup == "word" else _number(token)


def _string(text: str) -> str:
    return str(json.loads(f'"{text}"')) if "\\" in text else text


def _number(token: re.Match[str]) -> str:
    """Return digits without outer zeros and a power of ten: exact, while a float would round an id of 17 digits."""
    fraction, exponent = token["fraction"] or "", token["exponent"] or "0"
    digits = (token["whole"] + fraction).lstrip("0")
    if not digits:
        return "0e0"
    if len(exponent) > _LONGEST_EXPONENT:
        return token["number"].lower()
    shortest = digits.rstrip("0")
    return f"{token['minus']}{shortest}e{int(exponent) - len(fraction) + len(digits) - len(shortest)}"


def _closing(container: dict[str, Json] | list[Json]) -> str:
    return "}" if isinstance(container, dict) else "]"


def build(config: JsonConfig) -> JsonSignal:
    """Return the signal; it has no options."""
    return JsonSignal()
