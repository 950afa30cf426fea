"""RouterArena's `cached_results`: a JSON Lines file a model, with graded answers and their token counts.

Source: https://github.com/RouteWorks/RouterArena. The answer's score `score` is `evaluation_result.score`, by the
metric that `metadata.metric` names; METEOR and the like can leave 0 to 1 by a little, and are cut there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import nan
from pathlib import Path

from serve_app.core.types.answer import Failure, Generation
from serve_app.evaluation.importing.formats.rows import Row, SourceFile, generation, read_rows, reference
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.fields import field
from serve_app.files.json_lines import Object


def recognises(path: Path, body: Object | None) -> bool:
    """Return whether the first object of a file is a row of this format."""
    return body is not None and {"global_index", "generated_answer"} <= body.keys()


def read(files: Sequence[SourceFile]) -> Iterator[Row]:
    """Yield the rows of all files. Raises DataError with file, line and field if one cannot be read."""
    return read_rows(files, _row)


def _row(file: SourceFile, where: str, body: Object) -> Row:
    index = field(body, "global_index", str)
    failed = not body.get("success", True)  # and then often not graded
    grade = (body.get("evaluation_result") or {}) if failed else field(body, "evaluation_result", dict)
    facts = {"category": index.rpartition("_")[0] or index, "metric": grade.get("metric")}
    example = Example(
        index,
        "custom",
        f"RouterArena, {index}",
        {"prompt": field(body, "question", str)},
        reference(grade.get("ground_truth")),
        {name: value for name, value in facts.items() if value is not None},
    )
    answer, usage = _answer(body), body.get("token_usage")
    if usage:
        usage = field(body, "token_usage", dict)
        answer = replace(
            answer,
            prompt_tokens=field(usage, "input_tokens", int, "token_usage."),
            completion_tokens=field(usage, "output_tokens", int, "token_usage."),
        )
    scores = {}
    if grade.get("score") is not None:
        scores["score"] = min(1.0, max(0.0, field(grade, "score", float, "evaluation_result.")))
    return Row(where, file.model or field(body, "llm_selected", str), example, answer, bool(usage), scores)


def _answer(body: Object) -> Generation | Failure:
    if body.get("success", True):
        return generation(field(body, "generated_answer", str))
    return Failure("error", str(body.get("error") or "The source names no reason."), latency_s=nan)
