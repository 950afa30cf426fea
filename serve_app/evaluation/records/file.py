"""Records: one JSON Lines file with the examples and what every model answered; all that evaluation needs.

First a header, then the examples, then the answers as they came, a line each:

    {"kind": "header", "format": 1, "created": ..., "config": {...}, "data": {...}, "models": {...}, ...}
    {"kind": "example", "id": "1", "task": ..., "source": ..., "prompt_inputs": {...}, "references": [...]}
    {"kind": "answer", "example": "1", "model": "small", "text": "Paris", "finish_reason": "stop", "prompt_tokens": 12,
     "completion_tokens": 2, "latency_s": 0.4, "first_token_s": 0.3, "logprobs": [["Paris", -0.1]],
     "scores": {"preference": 0.7}}
    {"kind": "answer", "example": "2", "model": "small", "failure": "timeout", "message": ..., "prompt_tokens": ...}

`scores` are recorded qualities, 0 to 1 each. `latency_s` is null (in memory NaN) if it was not measured.

The file only ever grows (see `writer`). A later header replaces the one before it, a later answer of the same model
to the same example likewise (that was a retry), and a last line without its newline was cut off by a kill and does not
count. Finished files may be compressed: `.jsonl.gz` is read as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from serve_app.config import AppConfig
from serve_app.core.cost import ModelCost
from serve_app.core.types.prompt import Message
from serve_app.errors import DataError
from serve_app.evaluation.records.answers import Answers
from serve_app.evaluation.records.example import Example, digest
from serve_app.evaluation.records.header import DataFacts, Header
from serve_app.evaluation.records.lines import read_example, read_line
from serve_app.files.json_lines import read_appended
from serve_app.files.task_prompts import own_messages, templated_messages
from serve_app.files.text import Line


class Records:
    """A records file in memory. `answers[model][i]` is the model's answer to `examples[i]`."""

    def __init__(self, header: Header, examples: list[Example], answers: dict[str, Answers]) -> None:
        self.header = header
        self.examples = examples
        self.answers = answers

    @classmethod
    def load(cls, path: Path) -> "Records":
        """Read a complete file, or one that is still being written. Raises DataError with the line if it is invalid."""
        with read_appended(path) as lines:
            return cls.read(lines, str(path))

    @classmethod
    def read(cls, lines: Iterable[tuple[Line, dict[str, Any]]], name: str) -> "Records":
        """Return the records of a file's lines. Raises DataError, which calls the file `name`, if one is invalid."""
        reader = _Reader()
        for line, body in lines:
            try:
                reader.take(body)
            except ValueError as error:
                raise DataError(f"{line.where}: not a line of records: {error}.") from None
        if reader.header is None:
            raise DataError(f"{name!r} holds no records: it is empty.")
        answers = {model: reader.answers.get(model, Answers(reader.examples)) for model in reader.header.models}
        return cls(reader.header, reader.examples, answers)

    @property
    def models(self) -> tuple[str, ...]:
        """Return every model that was to be asked, as the config's cascades name them: the target after its members."""
        return tuple(self.answers)

    @property
    def costs(self) -> dict[str, ModelCost]:
        """Return what each model costs, as the config had it."""
        return {name: facts.cost for name, facts in self.header.models.items()}

    @cached_property
    def config(self) -> AppConfig:
        """Return the config that the models were asked under. Raises DataError if this version cannot read it."""
        return self.header.config.parsed()

    def messages(self, row: int) -> tuple[Message, ...]:
        """Return what the models were asked about an example, by its index. Raises DataError if the header lacks it."""
        example = self.examples[row]
        template = self.header.prompts.texts.get(example.task)
        inputs = example.prompt_inputs
        try:
            return own_messages(inputs) if template is None else templated_messages(template, inputs)
        except (AttributeError, LookupError, TypeError, ValueError):
            raise DataError(
                f"The header's prompts.texts.{example.task} does not fit the inputs of the example {example.id!r} "
                f"({', '.join(inputs)})."
            ) from None

    def restricted(self, rows: Sequence[int]) -> "Records":
        """Return the records of some examples, by their indices; the data's digest is of those."""
        examples = [self.examples[row] for row in rows]
        header = replace(self.header, data=DataFacts(digest(examples), len(examples), self.header.data.files))
        return Records(
            header, examples, {model: column.restricted(rows, examples) for model, column in self.answers.items()}
        )

    def complete(self, models: Iterable[str] | None = None) -> list[int]:
        """Return the indices of the examples to which each of `models` (default: all) has an answer or a failure."""
        columns = [self.answers[model] for model in (self.models if models is None else models)]
        rows = range(len(self.examples))
        return [i for i in rows if all(column.without_logprobs(i) is not None for column in columns)]

    @cached_property
    def score_names(self) -> tuple[str, ...]:
        """Return the names of all scores that any answer was given, in alphabetical order."""
        rows = range(len(self.examples))
        return tuple(sorted({name for column in self.answers.values() for i in rows for name in column.scores(i)}))

    def scores(self, name: str, model: str) -> list[float | None]:
        """Return one score of a model's answers, in the order of the examples; None if an answer lacks it."""
        column = self.answers[model]
        return [column.scores(i).get(name) for i in range(len(self.examples))]


class _Reader:
    """Collects lines, one after another, into what `Records` holds."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.examples: list[Example] = []
        self.answers: dict[str, Answers] = {}
        self._indices: dict[str, int] = {}

    def take(self, body: dict[str, Any]) -> None:
        match body.get("kind"):
            case "header":
                self.header = Header.read(body)
            case _ if self.header is None:
                raise ValueError("a header comes first")
            case "example":
                self._example(body)
            case "answer":
                self._answer(body, self.header)
            case kind:
                raise ValueError(f"kind: must be header, example or answer, not {kind!r}")

    def _example(self, body: dict[str, Any]) -> None:
        example = read_example(body)
        if example.id in self._indices:
            raise ValueError(f"duplicate example {example.id!r}")
        self._indices[example.id] = len(self.examples)
        self.examples.append(example)

    def _answer(self, body: dict[str, Any], header: Header) -> None:
        line = read_line(body)
        if line.model not in header.models:
            raise ValueError(f"the model {line.model!r} is not in the header")
        if line.example not in self._indices:
            raise ValueError(f"the example {line.example!r} must come before its answers")
        column = self.answers.setdefault(line.model, Answers(self.examples))
        column.put(self._indices[line.example], line.answer, line.logprobs, line.scores)
