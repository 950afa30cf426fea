"""A user's own metric, `module:function`, by a process in the environment that it needs.

    def function(answers: list[str], references: list[list[str]], inputs: list[dict], **options) -> list[float]

gets all answers at once, each with its example's references and `prompt_inputs`; it returns a value of 0 to 1 for each.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from serve_app.errors import SignalError, counted
from serve_app.evaluation.metrics.worker import Object, running, serve


def score_answers(
    path: str,
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    inputs: Sequence[Mapping[str, Any]],
    *,
    environment: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[float]:
    """Return the value of each answer by the function `path`. Raises `SignalError` if it fails or returns other values.

    It is imported with the working directory first on its path.
    """
    if not answers:
        return []
    setup = {"function": path, "options": dict(options or {})}
    batch = {"answers": list(answers), "references": [*map(list, references)], "inputs": [*map(dict, inputs)]}
    with running(f"the metric {path}", environment, __name__, setup) as worker:
        values: list[float] = worker.call(batch)["values"]
        return values


def _start(setup: Object) -> Callable[[Object], Sequence[float]]:
    path: str = setup["function"]
    module, _, name = path.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SignalError(f"The metric {path!r} cannot be imported: {error}.") from error

    def values_of(batch: Object) -> Sequence[float]:
        try:
            values = function(batch["answers"], batch["references"], batch["inputs"], **setup["options"])
            return checked(path, values, len(batch["answers"]))
        except SignalError:
            raise
        except Exception as error:  # a user's code may raise anything
            raise SignalError(f"The metric {path!r} failed: {type(error).__name__}: {error}") from error

    return values_of


def checked(path: str, values: Sequence[Any], count: int) -> list[float]:
    """Return the values as numbers. Raises `SignalError` if they are not `count` numbers of 0 to 1."""
    numbers = [float(value) for value in values]
    if len(numbers) != count:
        returned, requested = counted(len(numbers), "value"), counted(count, "answer")
        raise SignalError(f"The metric {path!r} returned {returned} for {requested}.")
    if (index := next((i for i, value in enumerate(numbers) if not 0 <= value <= 1), None)) is not None:
        value = "NaN" if math.isnan(numbers[index]) else f"{numbers[index]:g}"
        raise SignalError(f"The metric {path!r} returned {value} for answer {index}; qualities are 0 to 1.")
    return numbers


if __name__ == "__main__":
    serve(_start)
