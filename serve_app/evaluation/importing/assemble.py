"""Rows of all files -> the examples and every model's answer to each, without contradictions."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from serve_app.core.sampling import parsed_name
from serve_app.core.types.answer import Failure, Generation
from serve_app.errors import DataError
from serve_app.evaluation.importing.formats.rows import Row
from serve_app.evaluation.records.example import Example


@dataclass(slots=True)
class Imported:
    """What was read: `examples` by id, and `answers[model][example id]`, both in the order of the files."""

    examples: dict[str, Example] = field(default_factory=dict)
    answers: dict[str, dict[str, Row]] = field(default_factory=dict)
    _first: dict[str, str] = field(default_factory=dict)  # example id -> where it was read first
    _names: dict[str, str] = field(default_factory=dict)  # model -> its name in the source
    _unlabelled: set[str] = field(default_factory=set)  # ids of examples of which only failures were read so far

    def add(self, row: Row) -> None:
        """Add a row. Raises DataError if it contradicts an earlier one: in its example, its answer or its scores."""
        _check(row)
        self._add_example(row)
        model = model_name(row.model)
        if self._names.setdefault(model, row.model) != row.model:
            names = f"{self._names[model]!r} and {row.model!r} would both be called {model!r}"
            raise DataError(f"{row.where}: the models {names}; name one with NAME=PATH.")
        column = self.answers.setdefault(model, {})
        earlier = column.get(row.example.id)
        column[row.example.id] = row if earlier is None else _merged(earlier, row, model)

    def _add_example(self, row: Row) -> None:
        example, id_ = row.example, row.example.id
        earlier = self.examples.setdefault(id_, example)
        first = self._first.setdefault(id_, row.where)
        if earlier is example and _unlabelled(row):
            self._unlabelled.add(id_)
        for part in ("task", "prompt_inputs", "references"):
            # A failure may come without the gold answers.
            differs = getattr(example, part) != getattr(earlier, part)
            if differs and not (part == "references" and (_unlabelled(row) or id_ in self._unlabelled)):
                raise DataError(f"{row.where}: the example {id_!r} has other {part} than at {first}.")
        for name, value in example.metadata.items():
            if earlier.metadata.get(name, value) != value:
                raise DataError(f"{row.where}: the example {id_!r} has another {name} than at {first}.")
        self.examples[id_] = replace(
            earlier,
            references=earlier.references or example.references,
            metadata={**earlier.metadata, **example.metadata},
        )
        if example.references:
            self._unlabelled.discard(id_)


def assemble(rows: Iterable[Row]) -> Imported:
    """Return what all rows hold together. Raises DataError with both places if two contradict each other."""
    imported = Imported()
    for row in rows:
        imported.add(row)
    return imported


def model_name(name: str) -> str:
    """Return the name that a model has in a config: without its publisher, with `-` for what names cannot have.

    The third sample of a model, `NAME#3`, stays one.
    """
    base, number = parsed_name(name) or (name, None)
    config_name = re.sub(r"[^A-Za-z0-9._-]+", "-", base.rsplit("/", 1)[-1]).strip("-._")
    return config_name if number is None else f"{config_name}#{number}"


def _check(row: Row) -> None:
    """Raise DataError if records could not hold the row."""
    for name, value in row.scores.items():
        if not 0 <= value <= 1:
            raise DataError(f"{row.where}: the score {name!r} is {value:g}; scores must be from 0 to 1.")
    for name, count in (
        ("prompt_tokens", row.answer.prompt_tokens),
        ("completion_tokens", row.answer.completion_tokens),
    ):
        if count < 0:
            raise DataError(f"{row.where}: {name} is {count}; it must not be negative.")


def _unlabelled(row: Row) -> bool:
    return isinstance(row.answer, Failure) and not row.example.references


def _merged(earlier: Row, row: Row, model: str) -> Row:
    """Return one row of two for the same answer, such as an output and its annotation."""
    if _content(earlier) != _content(row):
        raise DataError(f"{row.where}: {model!r} has another answer to {row.example.id!r} at {earlier.where}.")
    for name in earlier.scores.keys() & row.scores.keys():
        if earlier.scores[name] != row.scores[name]:
            raise DataError(f"{row.where}: the answer has another score {name!r} at {earlier.where}.")
    fuller = row if row.counted else earlier
    return replace(fuller, scores={**earlier.scores, **row.scores})


def _content(row: Row) -> tuple[object, ...]:
    answer = row.answer
    return (answer.kind, answer.message) if isinstance(answer, Failure) else (answer.text, answer.tool_calls)


def failures(imported: Imported) -> Iterator[tuple[str, int]]:
    """Yield each model with the number of its answers that are failures, if there are any."""
    for model, column in imported.answers.items():
        if count := sum(not isinstance(row.answer, Generation) for row in column.values()):
            yield model, count
