"""JSON Lines that users write, and those that a process of ours appends to."""

import gzip
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import DataError
from serve_app.files.json_lines import read_appended, read_json_lines
from serve_app.files.text import Line

BOM = b"\xef\xbb\xbf"
Items = Iterator[tuple[Line, dict[str, Any]]]
TEXTS = ("one\u2028two", "one\x85two", "\ufeffone", "é 😀")


def listed(reader: AbstractContextManager[Items]) -> list[tuple[Line, dict[str, Any]]]:
    with reader as items:
        return list(items)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("start", [b"", BOM])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\n\n", "\n \t\r\n"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_line_ends_at_a_newline_and_nowhere_else(
    tmp_path: Path, name: str, start: bytes, newline: str, ascii_only: bool
) -> None:
    bodies = [{"text": text} for text in TEXTS]
    content = start + newline.join([*(json.dumps(body, ensure_ascii=ascii_only) for body in bodies), ""]).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    for read in (read_json_lines, read_appended):
        items = listed(read(path))
        assert [body for _, body in items] == bodies
        step = 1 + (newline.count("\n") > 1)
        assert [line.where for line, _ in items] == [f"{path}:{1 + i * step}" for i in range(len(bodies))]


def test_a_last_line_without_a_newline(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}')
    assert [body for _, body in listed(read_json_lines(path))] == [{"a": 1}, {"a": 2}]
    [(line, body)] = listed(read_appended(path))
    assert (body, line.end) == ({"a": 1}, 9)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"{", "not JSON: Expecting property name enclosed in double quotes at column 2."),
        (b'{"a": 1} {}', "not JSON: Extra data at column 10."),
        (BOM + b"{}", "not JSON: Unexpected UTF-8 BOM (decode using utf-8-sig) at column 1."),
        (b'{"a": "\xff"}', "not UTF-8 at byte 8."),
        (b'{"a": "\xed\xa0\xbd"}', "not UTF-8 at byte 8."),  # half of a pair as bytes
        (b"[" * 200_000, "not JSON: nested too deeply."),
        (b"1" * 5000, "not JSON: a number has too many digits."),
        (b"[]", "must be a JSON object."),
        (b"null", "must be a JSON object."),
    ],
)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: bytes, fault: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\r\n\r\n' + line + b"\n")
    for read in (read_json_lines, read_appended):
        with pytest.raises(DataError) as caught:
            listed(read(path))
        assert str(caught.value) == f"{path}:3: {fault}"


@pytest.mark.parametrize("half", ["\\ud83d", "\\uDE00", "\\ude00\\ud83d"])
def test_half_a_surrogate_pair_is_refused_in_what_users_write(tmp_path: Path, half: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "\\ud83d\\ude00"}\n{"inputs": {"texts": ["a", "b HALF"]}}\n'.replace("HALF", half))
    with pytest.raises(DataError) as caught:
        listed(read_json_lines(path))
    assert str(caught.value) == f"{path}:2: inputs.texts[1]: has half of a surrogate pair, which is not a character."
    assert [body for _, body in listed(read_appended(path))][1] == {
        "inputs": {"texts": ["a", json.loads(f'"b {half}"')]}
    }


def test_an_escaped_backslash_is_no_half(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": "\\\\ud83d"}\n')
    assert [body for _, body in listed(read_json_lines(path))] == [{"a": "\\ud83d"}]
