"""Text files, whole and line by line."""

import gzip
from pathlib import Path

import pytest

from serve_app.errors import DataError
from serve_app.files.text import Line, read_lines, read_text, text_of

BOM = b"\xef\xbb\xbf"


def lines(path: Path, *, growing: bool = False) -> list[Line]:
    with read_lines(path, growing=growing) as lines:
        return list(lines)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        (BOM, ""),
        (b"one\n", "one"),
        (b"one\r\n", "one"),
        (b"one\n\n", "one\n"),
        (BOM + "one\r\ntwo\u2028three\x85\n".encode(), "one\r\ntwo\u2028three\x85"),
        ("one\ufefftwo".encode(), "one\ufefftwo"),
    ],
)
def test_a_text_is_read_without_what_an_editor_adds(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert read_text(path) == text_of(content, "-") == text
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(content, mtime=0))
    assert read_text(tmp_path / "a.txt.gz") == text


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_only_a_newline_ends_a_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = BOM + "one\u2028\x85\x0b\x0c\x1c\rtwo\r\n\n \t\r\n three".encode()
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    assert lines(path) == [
        Line(f"{path}:1", "one\u2028\x85\x0b\x0c\x1c\rtwo", 20),
        Line(f"{path}:4", " three", 31),
    ]
    assert lines(path, growing=True) == [Line(f"{path}:1", "one\u2028\x85\x0b\x0c\x1c\rtwo", 20)]


def test_a_line_that_was_cut_within_a_character_is_no_fault_of_a_growing_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n" + "\u00e9".encode()[:1])
    assert [line.text for line in lines(path, growing=True)] == ["one"]
    with pytest.raises(DataError, match=r"a\.txt:2: not UTF-8"):
        lines(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(DataError) as caught:
        read_text(path)
    assert str(caught.value) == f"The file '{path}' cannot be read: No such file or directory."
    with pytest.raises(DataError, match=r"^The file '.*' cannot be read: Is a directory\.$"):
        lines(tmp_path)
    path.write_bytes(b"one\ntwo \xe9\n")
    with pytest.raises(DataError) as caught:
        lines(path)
    assert str(caught.value) == f"{path}:2: not UTF-8 at byte 5."
    with pytest.raises(DataError) as caught:
        read_text(path)
    assert str(caught.value) == f"{path}: not UTF-8 at byte 9."
    path.write_bytes("one".encode("utf-16"))
    with pytest.raises(DataError, match=r"a\.txt:1: not UTF-8 at byte 1\."):
        lines(path)


@pytest.mark.parametrize(
    "content",
    [b"one\n", gzip.compress(b"one\n" * 100, mtime=0)[:-12], gzip.compress(b"one\n", mtime=0)[:12] + b"xxxxxx"],
)
def test_a_damaged_archive_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    for read in (read_text, lines):
        with pytest.raises(DataError, match=r"^The file '.*a\.gz' cannot be read: \w.*[^.]\.$"):
            read(path)


def test_a_file_is_closed_when_its_reader_gives_up(tmp_path: Path) -> None:
    """Otherwise code that keeps the error keeps the file open."""
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n")

    def give_up() -> None:
        with read_lines(path) as lines:
            raise ValueError(next(lines).text)

    with pytest.raises(ValueError, match="one") as caught:
        give_up()
    assert caught.tb
    assert not [file for file in Path("/proc/self/fd").iterdir() if file.resolve() == path]
