"""AlpacaEval's `results`: a model's outputs, and a judge's annotations of them. Either or both may be given.

Source: https://github.com/tatsu-lab/alpaca_eval. Outputs have `instruction`, `output` and `generator`; annotations
`instruction`, `output_2`, `generator_2` and `preference`, from 1 (the baseline is better) to 2 (the model is). The
answer's score `preference` is that less 1.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from serve_app.evaluation.importing.formats.rows import Row, SourceFile, generation, metadata, read_rows, text_id
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.fields import field
from serve_app.files.json_lines import Object


def recognises(path: Path, body: Object | None) -> bool:
    """Return whether the first object of a file is a row of this format, of outputs or of annotations."""
    return body is not None and "instruction" in body and ("output_2" in body or {"output", "generator"} <= body.keys())


def read(files: Sequence[SourceFile]) -> Iterator[Row]:
    """Yield the rows of all files. Raises DataError with file, row and field if one cannot be read."""
    return read_rows(files, _row)


def _row(file: SourceFile, where: str, body: Object) -> Row:
    text, generator = ("output_2", "generator_2") if "output_2" in body else ("output", "generator")
    instruction = field(body, "instruction", str)
    id_ = text_id(instruction)
    example = Example(id_, "custom", f"AlpacaEval, {id_}", {"prompt": instruction}, (), metadata(body))
    model = file.model or field(body, generator, str)
    return Row(where, model, example, generation(field(body, text, str)), scores=_scores(body))


def _scores(body: Object) -> dict[str, float]:
    if body.get("preference") is None:
        return {}  # of outputs, or of a judge that gave no verdict
    preference = field(body, "preference", float)
    if preference == 0:
        return {"preference": 0.5}  # how older judges say that it is a draw
    if not 1 <= preference <= 2:
        raise ValueError(f"preference: must be from 1 to 2, or 0 for a draw, not {preference!r}")
    return {"preference": preference - 1}
