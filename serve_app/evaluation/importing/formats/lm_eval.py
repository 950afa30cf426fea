"""lm-evaluation-harness's `--log_samples`: a JSON Lines file for a model and a task, with a graded answer in each line.

Documented at https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/interface.md; the fields read are
`doc`, `doc_id`, `arguments`, `resps`, `target`, `filter` and the values of the `metrics`. The task comes from the
file's name (`samples_TASK_DATE.jsonl`), the model from its folder's (`ORG__MODEL`). A document is there once for each
filter of its task; the answer's scores are then named by metric and filter, such as `exact_match.strict-match`. Metrics
of a whole corpus, and values beyond 0 to 1, are not scores of an answer and are left out.
"""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from serve_app.evaluation.importing.formats.rows import Row, SourceFile, generation, metadata, read_rows, reference
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.fields import field
from serve_app.files.json_lines import Object

WITHOUT_FILTER = "none"


def recognises(path: Path, body: Object | None) -> bool:
    """Return whether the first object of a file is a sample of this format."""
    return body is not None and {"doc", "arguments", "resps"} <= body.keys()


def read(files: Sequence[SourceFile]) -> Iterator[Row]:
    """Yield the rows of all files. Raises DataError with file, line and field if one cannot be read."""
    prompts: dict[str, dict[str, Any]] = {}  # of the first model: others are asked the same in their own chat templates
    return read_rows(files, lambda file, where, body: _row(file, where, body, prompts))


def _row(file: SourceFile, where: str, body: Object, prompts: dict[str, dict[str, Any]]) -> Row:
    task, doc = _task(file.path), field(body, "doc", dict)
    number = body.get("doc_id")
    if not isinstance(number, str | int):
        raise ValueError(f"doc_id: must be a whole number, not {number!r}")
    id_ = f"{task}/{number}"
    inputs = prompts.setdefault(id_, _inputs(body))
    facts = {"task": task, **metadata(doc)}
    example = Example.read(
        {
            "id": id_,
            "task": "custom",
            "source": f"{task}, {number}",
            "prompt_inputs": inputs,
            "references": list(_references(body.get("target"))),
            "metadata": facts,
        }
    )
    return Row(where, file.model or _model(file.path), example, generation(_text(body)), scores=_scores(body))


def _inputs(body: Object) -> dict[str, Any]:
    """Return the context that the model was given: of the first request, in the forms of all versions.

    With a chat template of an API it is the messages as JSON, in a list of their own.
    """
    arguments = body.get("arguments")
    first: Any = None
    if isinstance(arguments, dict) and arguments:
        first = next(iter(arguments.values()))
        first = first.get("arg_0") if isinstance(first, dict) else None
    elif isinstance(arguments, list) and arguments and isinstance(arguments[0], list) and arguments[0]:
        first = arguments[0][0]
    if isinstance(first, list) and len(first) == 1 and isinstance(first[0], str):
        return {"messages": json.loads(first[0])}
    if not isinstance(first, str):
        raise ValueError("arguments: must begin with a request and its context, which is a text")
    return {"prompt": first}


def _references(target: Any) -> tuple[str, ...]:
    """Return the gold answers; of several the harness writes Python's form of the list."""
    if isinstance(target, str) and target.startswith("["):
        try:
            values = ast.literal_eval(target)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            values = target
        if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
            return tuple(values)
    return reference(target)


def _text(body: Object) -> str:
    """Return the first answer to the first request. Raises ValueError if the task compared log-likelihoods."""
    answers = field(body, "resps", list)
    first = answers[0] if answers else None
    first = first[0] if isinstance(first, list) and first else first
    if not isinstance(first, str):
        raise ValueError(f"resps: must be generated texts; log-likelihoods ({first!r}) cannot be imported")
    return first


def _scores(body: Object) -> dict[str, float]:
    """Return the answer's own scores; those of several answers to one request are of their vote, and left out."""
    answers = body["resps"][0]
    metrics = body.get("metrics") or []
    if (isinstance(answers, list) and len(answers) > 1) or not isinstance(metrics, list):
        return {}
    names = [name for name in metrics if isinstance(name, str)]
    filter_name = body.get("filter", WITHOUT_FILTER)
    values = {name if filter_name == WITHOUT_FILTER else f"{name}.{filter_name}": body.get(name) for name in names}
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float) and 0 <= value <= 1}


def _task(path: Path) -> str:
    stem = path.name.split(".jsonl")[0]
    match = re.fullmatch(r"samples_(.+?)(_\d{4}-\d{2}-\d{2}T.*)?", stem)
    return match[1] if match else stem


def _model(path: Path) -> str:
    return path.absolute().parent.name.rpartition("__")[2]
