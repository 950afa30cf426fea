import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.signals import JsonConfig, build_signal
from serve_app.signals.json_leaves import find_json

SIGNAL = build_signal(JsonConfig())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)
CALL = '{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}'


def value(first: str, second: str) -> float:
    """Return the similarity of two texts, the same in both directions."""
    [scores] = SIGNAL.similarities([[first, second]])
    [_, forth], [back, _] = scores.similarities
    assert forth == back
    return forth


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('{"a": 1, "b": [true, null]}', '{ "b":[true,null],\n\t"a":1 }'),
        ("1", "1.0"),
        ("[100, 1e2, 0.5]", "[1.0E+2, 100.00, 5e-1]"),
        ("[0, -0]", "[-0.0, 0e7]"),
        ("[12345678901234567890]", "[12345678901234567890.0]"),
        ('"\\u00e9\\/\\n"', '"é/\\u000a"'),
        ('{"a": 1, "a": 2}', '{"a": 2}'),
        ('{"a": {"b": 1}, "a": {}}', '{"a": {}}'),
        ("[NaN, Infinity, -Infinity]", "[NaN,Infinity,-Infinity]"),
        (CALL, f"Sure! Here it is:\n```json\n{CALL}\n```\nAnything else?"),
        (CALL, f"```\n{CALL}\n```"),
        (CALL, f"  ```tool_call\n  {CALL}\n  ```"),
        (CALL, f"```json {CALL} ```"),
        (CALL, f"<tool_call>\n{CALL}\n</tool_call>"),
        (CALL, f"I call [the tool] {{x}} as in [1]: {CALL}. {{}}"),
        (CALL, f"Not {{this: 1}}, not [1, {CALL} but that."),
        (CALL, f'He said {{ "so {CALL}'),
        ("[1, 2]", "Here:\n```json\n[1, 2]\n```\n"),
        (CALL, f'Not {{"name": "x"}} but\n```json\n{CALL}\n```'),
        ('{"arguments": "{\\"a\\": [1, 2]}"}', '{"arguments": {"a": [1.0, 2]}}'),
        ("Paris", "  Paris\n"),
        ("see [1]", "see [1] "),
    ],
)
def test_the_same_value_written_differently(first: str, second: str) -> None:
    assert value(first, second) == 1.0


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # worked by hand: shared leaves / leaves of both
        (CALL, CALL.replace("Paris", "London"), 2 / 4),
        ('{"a": 1}', '{"a": 1, "b": 2}', 1 / 2),
        ('{"a": 1}', '{"b": 1}', 0.0),
        ("[1, 2, 3]", "[1, 2]", 2 / 3),
        ("[1, 2]", "[2, 1]", 0.0),
        ('{"a": {}, "b": []}', '{"a": [], "b": []}', 1 / 3),
        ("{}", "[]", 0.0),
        ('{"a": []}', "{}", 0.0),
        ('{"a": {"b": 1}}', '{"a.b": 1}', 0.0),
        ('{"0": 1}', "[1]", 0.0),
        ("1", "true", 0.0),
        ("0", "false", 0.0),
        ("1", '"1"', 0.0),
        ("null", '"null"', 0.0),
        ("[12345678901234567890]", "[12345678901234567891]", 0.0),
        ("1e400", "1e401", 0.0),
        ("1e9999999999999999999999", "1E9999999999999999999999", 1.0),
        ('"a "', '"a"', 0.0),
        (CALL, f"{CALL}\n{CALL}", 3 / 6),
        (f"<tool_call>{CALL}</tool_call>", f"<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>", 3 / 6),
        ("Paris", "London", 0.0),
        ("Paris", '"Paris"', 0.0),
        ("Paris", "paris", 0.0),
        # prose that cites or quotes does not agree by that
        ("The Eiffel Tower [1].", "The Louvre [1].", 0.0),
        ("Use `{}` in Rust.", "Use `{}` in Python.", 0.0),
        # not JSON, so compared as texts
        ("{'a': 1}", '{"a": 1}', 0.0),
        ('{"a": 1,}', '{"a": 1,}', 1.0),
        ('{"a": 1,}', '{"a":1,}', 0.0),
        ("[01]", "[1]", 0.0),
        ('["a\nb"]', '["a\\nb"]', 0.0),
    ],
)
def test_shares(first: str, second: str, expected: float) -> None:
    assert value(first, second) == pytest.approx(expected, abs=1e-12)


@given(VALUES)
def test_reads_what_json_reads(written: Any) -> None:
    tight, wide = json.dumps(written), json.dumps(written, indent=3, ensure_ascii=False, sort_keys=True)
    assert list(map(ours, find_json(tight))) == [theirs(tight)]
    assert value(tight, wide) == 1.0


@given(st.text(alphabet='[]{},:"\\ \n019.eE+-truefalsnNaIity', max_size=14))
def test_refuses_what_json_refuses(text: str) -> None:
    fenced = list(map(ours, find_json(f"```json\n{text}\n```")))
    try:
        assert fenced == [theirs(text)]
    except ValueError:
        assert not fenced or "{" in text  # a part of it may be an object


def theirs(text: str) -> Any:
    """Return what `json` reads, with exact numbers, and words as themselves: True is not 1."""
    return words(json.loads(text, parse_int=Decimal, parse_float=Decimal, parse_constant=lambda word: (word,)))


def words(read: Any) -> Any:
    if isinstance(read, dict):
        return {key: words(inner) for key, inner in read.items()}
    if isinstance(read, list):
        return list(map(words, read))
    return (json.dumps(read),) if isinstance(read, bool | None) else read


def ours(read: Any) -> Any:
    """Return the same for a value as the signal keeps it."""
    if isinstance(read, dict):
        return {key: ours(inner) for key, inner in read.items()}
    if isinstance(read, list):
        return list(map(ours, read))
    if read.startswith('"'):
        return read[1:]
    return Decimal(read) if read[-1].isdigit() else (read,)


@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"a": ', "}"), ('[0, {"a": "b", "c": ', "}]")], ids=["[", "{", "[{"]
)
def test_deeper_than_any_stack(opening: str, closing: str) -> None:
    first, second = (opening * 30_000 + leaf + closing * 30_000 for leaf in ("1", "2"))
    assert value(first, f" {first}\n") == 1.0
    assert value(first, f"```json\n{first}\n```") == 1.0
    assert value(first, second) < 1.0


@pytest.mark.parametrize(
    "piece",
    ["[", "{", '{"', '{"a":', "[1,", '["[",', '[1,"[1,",', '["\\', '{"a":1,', '{"a":[{"a":', "```\n", '{"a" ', "[1 ["],
)
def test_hostile_texts_take_linear_time(piece: str) -> None:
    text = piece * (400_000 // len(piece))
    started = time.process_time()
    assert value(f"see {text}", "{}") == 0.0
    assert time.process_time() - started < 10  # under 1 s; hours if it were quadratic


def test_a_large_document() -> None:
    rows = [{"id": i, "name": f"row {i}", "tags": ["a", i % 7]} for i in range(20_000)]
    changed_rows = [row | {"name": "x"} if row["id"] == 7 else row for row in rows]
    assert value(json.dumps(rows), json.dumps(changed_rows, indent=2)) == pytest.approx(79_999 / 80_001)


def test_numbers_of_any_length() -> None:
    digits = "7" * 10_000
    assert value(f"[{digits}]", f"[{digits}.000]") == 1.0
    assert value(f"[{digits}]", f"[{digits}1]") == 0.0
