"""Files that must not be written over."""

from pathlib import Path

import pytest

from serve_app.errors import DataError
from serve_app.files.output import check_output


def test_a_file_is_replaced_by_force_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    check_output(path, force=False)
    path.touch()
    check_output(path, force=False)
    path.write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt' exists; choose another path with -o, or replace it with --force"):
        check_output(path, force=False)
    check_output(path, force=True)
    check_output(Path("/dev/null"), force=False)


def test_what_a_command_reads_is_never_replaced(tmp_path: Path) -> None:
    records, link = tmp_path / "r.jsonl", tmp_path / "link.jsonl"
    records.write_text("{}")
    link.symlink_to(records)
    for output in (records, link):
        with pytest.raises(DataError, match=r"jsonl' is read by this command; choose another path with -o\.$"):
            check_output(output, force=True, inputs=(None, tmp_path / "absent", records))
