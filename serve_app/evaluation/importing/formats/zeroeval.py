"""ZeroEval's `result_dirs`: a JSON list a model, with the prompt, the answer and the gold answer in each row.

Source: https://github.com/WildEval/ZeroEval. `output` is a list of one text, `chat_history` the conversation before it,
`generator` the model. The gold answer is left as it is written: GSM8K's `# 18`, MATH's LaTeX, CRUXEval's literal.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from serve_app.evaluation.importing.formats.rows import Row, SourceFile, generation, metadata, read_rows, reference
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.fields import field
from serve_app.files.json_lines import Object

GOLD = ("answer", "correct_answer", "solution")
"""Fields with the gold answer, in the order of preference: data sets name it differently."""


def recognises(path: Path, body: Object | None) -> bool:
    """Return whether the first object of a file is a row of this format."""
    return body is not None and isinstance(body.get("output"), list) and {"generator", "chat_history"} <= body.keys()


def read(files: Sequence[SourceFile]) -> Iterator[Row]:
    """Yield the rows of all files. Raises DataError with file, row and field if one cannot be read."""
    return read_rows(files, _row)


def _row(file: SourceFile, where: str, body: Object) -> Row:
    output = field(body, "output", list)
    if not output or not isinstance(output[0], str):
        raise ValueError(f"output: must be a list with a text, not {output!r}")
    name, number = field(body, "dataset", str), body.get("id")
    if not isinstance(number, str | int):
        raise ValueError(f"id: must be a string or a whole number, not {number!r}")
    gold = next((body[key] for key in GOLD if body.get(key) is not None), None)
    inputs = {"prompt": _prompt(body)}
    example = Example(
        f"{name}/{number}", "custom", f"{name}, {number}", inputs, reference(gold), metadata(body, "dataset")
    )
    return Row(where, file.model or field(body, "generator", str), example, generation(output[0]))


def _prompt(body: Object) -> Any:
    history = field(body, "chat_history", list)
    if len(history) != 1 or not isinstance(history[0], str):
        raise ValueError("chat_history: must be a list of one prompt; conversations cannot be imported")
    return history[0]
