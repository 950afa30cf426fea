from typing import Any

import pytest

from serve_app.core.text.characters import half_at, whole


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", ""),
        ("é 😀 \u2028 \x85", "é 😀 \u2028 \x85"),
        ("\ud83d\ude00", "😀"),
        ("\ud83d", "\ufffd"),
        ("\ude00!", "\ufffd!"),
        ("a \ud83db", "a \ufffdb"),
        ("\ud83d\ud83d\ude00\ude00", "\ufffd😀\ufffd"),
    ],
)
def test_halves_are_joined_or_replaced(text: str, read: str) -> None:
    assert whole(text) == read


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"id": "1", "list": ["a", {"b": "é"}], "n": 1.5, "no": None}, None),
        ({"prompt": "a \ud83d"}, "prompt"),
        ({"a": "", "inputs": {"messages": [{"content": "x"}, {"content": "\ude00"}]}}, "inputs.messages[1].content"),
        ({"a": [["x", 1], ["\ud83d", 2]], "b": "\ud83d"}, "a[1][0]"),
        ({"a": {"\ud83d": 1}}, "a.\ufffd"),
        ("\ud83d", ""),
    ],
)
def test_the_first_half_of_a_json_value_is_found(value: Any, path: str | None) -> None:
    assert half_at(value) == path


def test_values_nested_deeper_than_the_stack_are_searched() -> None:
    value: Any = "\ud83d"
    for _ in range(5000):
        value = [value]
    assert half_at(value) == "[0]" * 5000
