"""Prompts from JSON Lines, or one a line."""

import gzip
from pathlib import Path

import pytest

from serve_app.errors import DataError
from serve_app.files.prompts import read_prompts

BOM = "\ufeff"


@pytest.mark.parametrize(
    ("name", "text", "prompts"),
    [
        ("a.txt", "Why?\n\n How? \n", ["Why?", "How?"]),
        ("a.txt", f"{BOM}Why?\r\n\r\nHow?", ["Why?", "How?"]),
        ("a.txt", "one\u2028two\nthree\x85four\n", ["one\u2028two", "three\x85four"]),
        ("a.txt", "a \\ud83d b\n\u3000\n", ["a \\ud83d b"]),
        ("a", '{"prompt": "Why?"}', ['{"prompt": "Why?"}']),
        ("a.jsonl", '{"prompt": "Why?\\nHow?", "id": 1}\n', ["Why?\nHow?"]),
        (
            "a.jsonl",
            f'{BOM}{{"prompt": "one\u2028two"}}\r\n\r\n{{"prompt": "one\x85two "}}',
            ["one\u2028two", "one\x85two "],
        ),
    ],
)
def test_prompts(tmp_path: Path, name: str, text: str, prompts: list[str]) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert read_prompts(tmp_path / name) == prompts
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    assert read_prompts(tmp_path / f"{name}.gz") == prompts


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.txt", b"\n", ": there are no prompts in it."),
        ("a.jsonl", b"", ": there are no prompts in it."),
        ("a.txt", b"caf\xe9", ":1: not UTF-8 at byte 4."),
        ("a.jsonl", b'{"prompt": "a"}\nb\n', ":2: not JSON: Expecting value at column 1."),
        ("a.jsonl", b'{"text": "a"}', ':1: prompt: must be a text, such as {"prompt": "What is a prime number?"}.'),
        ("a.jsonl", b'{"prompt": 1}', ':1: prompt: must be a text, such as {"prompt": "What is a prime number?"}.'),
        ("a.jsonl", b'{"prompt": " "}', ':1: prompt: must be a text, such as {"prompt": "What is a prime number?"}.'),
        (
            "a.jsonl",
            b'{"prompt": "\\ud83d"}',
            ":1: prompt: has half of a surrogate pair, which is not a character.",
        ),
    ],
)
def test_what_is_wrong_with_prompts_is_named(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_prompts(path)
    assert str(caught.value) == f"{path}{fault}"
