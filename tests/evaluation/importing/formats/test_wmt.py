import gzip
from pathlib import Path

import pytest

from serve_app.errors import DataError
from serve_app.evaluation.importing.formats.rows import SourceFile
from serve_app.evaluation.records.example import Example
from tests.evaluation.importing.sources import rows, write_text

CANARY = "CANARY GUID 26b5c67b\n"


def files(folder: Path, canary: str = CANARY, output: str = "Hallo\n\nEnde\u2028 gut\n") -> list[Path]:
    root = folder / "wmt24"
    return [
        write_text(root / "sources" / "en-de.txt", f"{canary}Hello\nWorld\nAll's well\n"),
        write_text(root / "references" / "en-de.refA.txt", f"{canary}Hallo\nWelt\nEnde gut\n"),
        write_text(root / "references" / "en-de.refB.txt", f"{canary}Grüß Gott\nErde\nAlles gut\n"),
        write_text(root / "system-outputs" / "en-de" / "Aya23.txt", canary + output),
    ]


def test_lines_are_segments_with_the_references_of_all_files(tmp_path: Path) -> None:
    first, empty, last = rows(*files(tmp_path))
    inputs = {"source_lang": "en", "target_lang": "de", "text": "Hello"}
    golds = ("Hallo", "Grüß Gott")
    assert first.example == Example("en-de/1", "translation", "wmt24 en-de, 1", inputs, golds, {"pair": "en-de"})
    assert (first.model, getattr(first.answer, "text", None)) == ("Aya23", "Hallo")
    assert first.where.endswith("system-outputs/en-de/Aya23.txt:2")
    # Empty translations stay in line, and only a newline ends a line.
    assert [getattr(row.answer, "text", None) for row in (empty, last)] == ["", "Ende\u2028 gut"]


def test_a_first_line_that_is_no_canary_is_a_segment(tmp_path: Path) -> None:
    read = rows(*files(tmp_path, canary=""))
    assert [row.where.rpartition(":")[2] for row in read] == ["1", "2", "3"]
    assert read[0].example.prompt_inputs["text"] == "Hello"


def test_the_last_segment_may_be_empty(tmp_path: Path) -> None:
    assert [getattr(row.answer, "text", None) for row in rows(*files(tmp_path, output="a\nb\n\n"))] == ["a", "b", ""]


def test_the_user_may_name_a_systems_model(tmp_path: Path) -> None:
    *inputs, output = files(tmp_path)
    assert {row.model for row in rows(*inputs, SourceFile(output, "aya"))} == {"aya"}


def test_files_that_are_not_aligned_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Aya23\.txt: has 2 segments, but .*sources/en-de\.txt has 3; they must be"):
        rows(*files(tmp_path, output="Hallo\nWelt\n"))


def test_missing_files_of_a_pair_are_named(tmp_path: Path) -> None:
    source, *references, output = files(tmp_path)
    with pytest.raises(DataError, match=r"The pair en-de has no sources/en-de\.txt among the files to import\."):
        rows(*references, output)
    with pytest.raises(DataError, match=r"The pair en-de has no system-outputs/en-de/MODEL\.txt"):
        rows(source, *references)


def test_a_name_without_a_pair_of_languages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'german' names no pair of languages, such as en-de"):
        rows(write_text(tmp_path / "sources" / "german.txt", "x\n"))


def test_compressed_outputs_are_of_the_same_models(tmp_path: Path) -> None:
    *inputs, output = files(tmp_path)
    packed = output.with_name("Aya23.txt.gz")
    packed.write_bytes(gzip.compress(output.read_bytes()))
    assert {row.model for row in rows(*inputs, packed)} == {"Aya23"}
