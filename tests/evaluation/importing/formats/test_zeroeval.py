from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import DataError
from serve_app.evaluation.importing.formats.rows import SourceFile
from serve_app.evaluation.records.example import Example
from tests.evaluation.importing.sources import rows, write_list, zeroeval_row


def test_a_row_is_a_prompt_an_answer_and_the_gold_answer_as_it_is_written(tmp_path: Path) -> None:
    path = write_list(tmp_path / "gemma.json.gz", [zeroeval_row()])
    [row] = rows(path)
    assert row.example == Example(
        "gsm/gsm8k-main-test-#0",
        "custom",
        "gsm, gsm8k-main-test-#0",
        {"prompt": "## Question: Ducks and 0 eggs?"},
        ("# 18",),
        {"config": "main", "source": "openai/gsm8k", "task_type": "qa"},
    )
    assert (row.model, row.counted, row.scores) == ("google/gemma-2-9b-it", False, {})
    assert (getattr(row.answer, "text", None), row.where) == ('{"answer": "18"}', f"{path}, row 1")


def test_ids_are_numbers_or_texts_and_unique_over_data_sets(tmp_path: Path) -> None:
    path = write_list(tmp_path / "m.json", [zeroeval_row(id=3, dataset="math-l5", answer=r"\frac{1}{2}")])
    [row] = rows(path)
    assert (row.example.id, row.example.references) == ("math-l5/3", (r"\frac{1}{2}",))


@pytest.mark.parametrize(
    ("gold", "references"),
    [
        ({"answer": None, "correct_answer": "B"}, ("B",)),
        ({"answer": ["1", 2]}, ("1", "2")),
        ({"answer": None, "solution": {"house": 1}}, ('{"house": 1}',)),
        ({"answer": None}, ()),
    ],
)
def test_gold_answers_of_other_data_sets(tmp_path: Path, gold: dict[str, Any], references: tuple[str, ...]) -> None:
    [row] = rows(write_list(tmp_path / "m.json", [zeroeval_row(**gold)]))
    assert row.example.references == references


def test_the_user_may_name_the_model(tmp_path: Path) -> None:
    path = write_list(tmp_path / "m.json", [zeroeval_row()])
    assert [row.model for row in rows(SourceFile(path, "gemma"))] == ["gemma"]


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"output": []}, r"row 2: output: must be a list with a text, not \[\]\."),
        ({"output": "x"}, r"row 2: output: must be a list, not 'x'\."),
        ({"chat_history": ["a", "b", "c"]}, r"row 2: chat_history: must be a list of one prompt"),
        ({"id": None}, r"row 2: id: must be a string or a whole number, not None\."),
        ({"generator": 5}, r"row 2: generator: must be a string, not 5\."),
    ],
)
def test_what_cannot_be_read_is_named_by_file_row_and_field(
    tmp_path: Path, broken: dict[str, Any], sentence: str
) -> None:
    path = write_list(tmp_path / "m.json", [zeroeval_row(), zeroeval_row(1) | broken])
    with pytest.raises(DataError, match=rf"m\.json, {sentence}"):
        rows(path)
