from pathlib import Path
from typing import Any

import pytest

from serve_app.core.types.answer import Generation
from serve_app.errors import DataError, UsageError
from serve_app.evaluation.importing.formats.catalogue import reader
from serve_app.evaluation.importing.formats.rows import Row, SourceFile
from serve_app.evaluation.records.example import Example
from tests.evaluation.importing.sources import write_lines
from tests.evaluation.untimed import untimed

LINE = {
    "q": "Capital of France?",
    "llm": "org/small",
    "reply": {"text": "Paris", "usage": {"in": 5, "out": 1}},
    "key": 7,
    "gold": ["Paris", "paris"],
    "set": "geo",
    "level": None,
    "grade": 0.5,
}
MAPPING = (
    "prompt=q, text=reply.text,model=llm,id=key,reference=gold,source=set,metadata.level=level,metadata.set=set,"
    "scores.judge=grade,prompt_tokens=reply.usage.in,completion_tokens=reply.usage.out"
)


def read(path: Path, mapping: str) -> list[Row]:
    files = [SourceFile(path)]
    return list(reader(files, None, mapping)(files))


def test_fields_are_read_by_the_mapping(tmp_path: Path) -> None:
    [row] = read(write_lines(tmp_path / "logs.jsonl.gz", [LINE]), MAPPING)
    inputs = {"prompt": "Capital of France?"}
    assert row.example == Example("7", "custom", "geo, 7", inputs, ("Paris", "paris"), {"set": "geo"})
    assert untimed(row.answer) == Generation("Paris", "stop", 5, 1)
    assert (row.model, row.counted, row.scores) == ("org/small", True, {"judge": 0.5})


def test_a_prompt_and_a_text_suffice(tmp_path: Path) -> None:
    first, second = (
        read(
            write_lines(tmp_path / f"{name}.jsonl", [{"messages": [{"role": "user", "content": "Hi"}], "out": name}]),
            "prompt=messages,text=out",
        )[0]
        for name in ("small", "large")
    )
    # The file names the model, and the prompt's own hash the example, so that two files meet.
    assert (first.model, second.model) == ("small", "large")
    assert first.example == second.example
    assert first.example.prompt_inputs == {"messages": [{"role": "user", "content": "Hi"}]}
    assert (first.example.source, first.example.references, first.counted) == ("", (), False)


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ("prompt=q", "--map: text is required; write text=FIELD."),
        ("prompt=q,text", "--map: 'text' must be OURS=THEIRS, such as prompt=question."),
        ("prompt=q,text=a,promt_tokens=x", "--map: there is no field 'promt_tokens'. Did you mean 'prompt_tokens'?"),
        ("prompt=q,text=a,metadata=x", "--map: there is no field 'metadata'."),
        ("prompt=q,text=a,prompt_tokens=x", "--map: completion_tokens is required; write completion_tokens=FIELD."),
    ],
)
def test_an_invalid_mapping(tmp_path: Path, mapping: str, sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(write_lines(tmp_path / "x.jsonl", [LINE]), mapping)
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"reply": {}}, r":2: reply\.text: must be a string, not None\."),
        ({"q": 5}, r":2: prompt_inputs\.messages: must be a list of at least one message\."),
        ({"grade": "A"}, r":2: grade: must be a number, not 'A'\."),
        ({"llm": None}, r":2: llm: must be a string, not None\."),
    ],
)
def test_what_cannot_be_read_is_named_by_file_line_and_field(
    tmp_path: Path, broken: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=rf"x\.jsonl{sentence}"):
        read(write_lines(tmp_path / "x.jsonl", [LINE, LINE | broken]), MAPPING)


def test_a_mapping_and_jsonl_belong_together(tmp_path: Path) -> None:
    files = [SourceFile(write_lines(tmp_path / "x.jsonl", [LINE]))]
    for name, mapping in (("jsonl", None), ("zeroeval", MAPPING)):
        with pytest.raises(UsageError, match="--map describes the format jsonl, which needs it"):
            reader(files, name, mapping)
