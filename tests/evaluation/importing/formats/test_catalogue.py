import json
from pathlib import Path

import pytest

from serve_app.errors import DataError, UsageError
from tests.evaluation.importing.sources import rows, write_list, write_text, zeroeval_row


def test_a_file_in_no_format_is_refused_with_the_formats(tmp_path: Path) -> None:
    formats = "alpaca_eval, lm_eval, openai_batch, routerarena, wmt, zeroeval; describe it with --map"
    for path in (write_list(tmp_path / "x.json", [{"a": 1}]), write_text(tmp_path / "x.txt", "Hallo\n")):
        with pytest.raises(DataError, match=rf"x\.(json|txt): is in none of the formats {formats}"):
            rows(path)


def test_an_unknown_format_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    path = write_list(tmp_path / "x.json", [zeroeval_row()])
    with pytest.raises(UsageError, match=r"There is no format 'zero_eval'\. Did you mean 'zeroeval'\?"):
        rows(path, format_="zero_eval")


def test_a_list_may_be_pretty_printed_and_is_read_row_by_row(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.json", "\n" + json.dumps([zeroeval_row(), zeroeval_row(1)], indent=4))
    assert [row.where for row in rows(path)] == [f"{path}, row 1", f"{path}, row 2"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("[\n{,\n]", r"x\.json:2: not JSON: .* at column 2\."), ("[1]", r"x\.json, row 1: must be a JSON object\.")],
)
def test_what_is_no_list_of_objects_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        rows(write_text(tmp_path / "x.json", text), format_="zeroeval")
