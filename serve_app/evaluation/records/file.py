"""Records: one JSON Lines file with the examples and what every model answered; all that evaluation needs.

First a header, then the examples, then the answers as they came, a line each:

    {"kind": "header", "format": 1, "created": ..., "config": {...}, "data": {...}, "models": {...}, ...}
    {"kind": "example", "id": "1", "task": ..., "source": ..., "prompt_inputs": {...}, "references": [...]}
    {"kind": "answer", "example": "1", "model": "small", "text": "Paris", "finish_reason": "stop", "prompt_tokens": 12,
     "completion_tokens": 2, "latency_s": 0.4, "first_token_s": 0.3, "logprobs": [["Paris", -0.1]]}
    {"kind": "answer", "example": "2", "model": "small", "failure": "timeout", "message": ..., "prompt_tokens": ...}

The file only ever grows (see `recorder`). A later header replaces the one before it, a later answer of the same model
to the same example likewise (that was a retry), and a last line without its newline was cut off by a kill and does not
count. Finished files may be compressed: `.jsonl.gz` is read as well.
"""

import gzip
import json
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast, get_args

from pydantic import ValidationError

from serve_app.config import AppConfig
from serve_app.core.cost import ModelCost
from serve_app.core.types import Answer, Failure, FailureKind, FinishReason, Generation, TokenLogprob, ToolCall
from serve_app.errors import DataError, choices
from serve_app.evaluation.records.example import Example

FORMAT = 1
HEADER_FIELDS: dict[str, type] = {
    "config.digest": str,
    "config.args": dict,
    "data.digest": str,
    "data.files": list,
    "prompts.digest": str,
    "prompts.texts": dict,
    "asked.through": str,
}
"""What evaluation reads of a header, beside its models' costs."""
T = TypeVar("T")
_WORDS = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What was asked, of whom and how. Every value is plain JSON.

    `config` is {digest, args: the serving config's, as written}; `data` {digest, examples: how many, files}; `prompts`
    {digest, texts: by task}; `sampling` {temperature, logprobs, max_tokens: by task}; `asked` {through: engines or
    server, concurrency}; `models` by name {engine, parameters, active_parameters, cost: as `ModelCost`, weights:
    their source, weights_sha256}; `versions` of the packages that answered.
    """

    created: str
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    prompts: Mapping[str, Any]
    sampling: Mapping[str, Any]
    asked: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]

    def body(self) -> dict[str, Any]:
        """As the file has it."""
        return {"kind": "header", "format": FORMAT, **asdict(self)}

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "Header":
        """ValueError, which names the field, where it is none, or of another format."""
        if body.get("format") != FORMAT:
            raise ValueError(f"the format is {body.get('format')!r}, and this version reads {FORMAT}")
        found: dict[str, Any] = {name: _field(body, name, str if name == "created" else dict) for name in _names(cls)}
        for path, kind in HEADER_FIELDS.items():
            part, name = path.split(".")
            _field(found[part], name, kind, f"{part}.")
        for model in found["models"]:
            _check_cost(model, _field(found["models"], model, dict, "models."))
        return cls(**found)


def _names(record: type) -> list[str]:
    return [field.name for field in fields(record)]


def _field(body: Mapping[str, Any], name: str, kind: type[T], where: str = "") -> T:
    """A field of a line, or of the part of it that `where` names. ValueError if it is missing or something else."""
    if name not in body:
        raise ValueError(f"{where}{name}: required, but missing")
    value = body[name]
    # In Python true and false are numbers.
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise ValueError(f"{where}{name}: must be {_WORDS[kind]}, not {value!r}")
    return cast("T", value)


def _word(body: Mapping[str, Any], name: str, words: tuple[str, ...]) -> Any:
    """The same of a field that is one of some words."""
    if (word := _field(body, name, str)) not in words:
        raise ValueError(f"{name}: {word!r} is none of {', '.join(words)}")
    return word


def _check_cost(model: str, facts: Mapping[str, Any]) -> None:
    cost, known = _field(facts, "cost", dict, f"models.{model}."), {one.name: one.default for one in fields(ModelCost)}
    for name, value in cost.items():
        if name not in known:
            raise ValueError(f"models.{model}.cost.{name}: no such field. {choices(name, known)}".rstrip("."))
        if value is not None or known[name] is not None:
            _field(cost, name, float, f"models.{model}.cost.")


def example_body(example: Example) -> dict[str, Any]:
    """An example's line."""
    return {"kind": "example", **example.body()}


def answer_body(example: str, model: str, answer: Answer) -> dict[str, Any]:
    """An answer's line. Log-probabilities and tool calls are left out where there are none."""
    body: dict[str, Any] = {"kind": "answer", "example": example, "model": model}
    counts = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
    if answer.estimated:
        counts["estimated"] = True
    if isinstance(answer, Failure):
        return body | {"failure": answer.kind, "message": answer.message, **counts, "latency_s": answer.latency_s}
    body |= {"text": answer.text, "finish_reason": answer.finish_reason, **counts, "latency_s": answer.latency_s}
    body["first_token_s"] = answer.first_token_s
    if answer.logprobs is not None:
        body["logprobs"] = [[item.token, item.logprob] for item in answer.logprobs]
    if answer.tool_calls:
        body["tool_calls"] = [asdict(call) for call in answer.tool_calls]
    return body


def read_place(body: Mapping[str, Any]) -> tuple[str, str]:
    """Of an answer's line the example and the model. ValueError names the field that is none."""
    return _field(body, "example", str), _field(body, "model", str)


def read_answer(body: Mapping[str, Any]) -> Generation | Failure:
    """What `answer_body` wrote, with its log-probabilities. ValueError names the field of a line that is none."""
    counts = _field(body, "prompt_tokens", int), _field(body, "completion_tokens", int)
    latency_s = _field(body, "latency_s", float)
    estimated = "estimated" in body and _field(body, "estimated", bool)
    if "failure" in body:
        kind = _word(body, "failure", get_args(FailureKind))
        return Failure(kind, _field(body, "message", str), *counts, latency_s, estimated)
    return Generation(
        _field(body, "text", str),
        _word(body, "finish_reason", get_args(FinishReason)),
        *counts,
        None if body.get("logprobs") is None else Logprobs(body["logprobs"]).unpacked(),
        latency_s,
        None if body.get("first_token_s") is None else _field(body, "first_token_s", float),
        tuple(map(_tool_call, _field(body, "tool_calls", list))) if "tool_calls" in body else (),
        estimated,
    )


def _tool_call(body: Any) -> ToolCall:
    if not isinstance(body, dict):
        raise ValueError(f"tool_calls: must be objects with {', '.join(_names(ToolCall))}, not {body!r}")
    return ToolCall(*(_field(body, name, str, "tool_calls.") for name in _names(ToolCall)))


class Logprobs:
    """An answer's log-probabilities in 16 bytes a token: as `TokenLogprob`s they would fill the memory.

    `pairs` as a line has them; ValueError where they are none.
    """

    __slots__ = ("tokens", "values")

    def __init__(self, pairs: Any) -> None:
        try:
            self.tokens = tuple(sys.intern(token) for token, _ in pairs)
            self.values = array("d", (value for _, value in pairs))
        except (TypeError, ValueError, OverflowError):
            raise ValueError("logprobs: must be pairs of a token and a number") from None

    def unpacked(self) -> tuple[TokenLogprob, ...]:
        """As the core has them."""
        return tuple(map(TokenLogprob, self.tokens, self.values))


class Answers:
    """One model's answers, in the order of the examples; None where the model was not asked."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples
        self._answers: dict[int, Answer] = {}
        self._logprobs: dict[int, Logprobs] = {}

    def put(self, index: int, body: Mapping[str, Any]) -> None:
        """Take an answer's line in, over an earlier one. ValueError where it is none."""
        self._answers[index] = read_answer({name: value for name, value in body.items() if name != "logprobs"})
        self._logprobs.pop(index, None)
        if body.get("logprobs") is not None:
            self._logprobs[index] = Logprobs(body["logprobs"])

    def __len__(self) -> int:
        return len(self._examples)

    def __iter__(self) -> Iterator[Answer | None]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Answer | None:
        if not 0 <= index < len(self):
            raise IndexError(index)
        answer, logprobs = self._answers.get(index), self._logprobs.get(index)
        return replace(answer, logprobs=logprobs.unpacked()) if isinstance(answer, Generation) and logprobs else answer

    def without_logprobs(self, index: int) -> Answer | None:
        """The answer as it is kept: no copy is made, and its log-probabilities are not in it."""
        return self._answers.get(index)

    def logprobs(self, index: int) -> "array[float] | None":
        """The log-probabilities of one answer's tokens, None where there are none."""
        kept = self._logprobs.get(index)
        return None if kept is None else kept.values


class Records:
    """A records file in memory. `answers[model][i]` is the model's answer to `examples[i]`."""

    def __init__(self, header: Header, examples: list[Example], answers: dict[str, Answers]) -> None:
        self.header = header
        self.examples = examples
        self.answers = answers

    @classmethod
    def load(cls, path: Path) -> "Records":
        """A whole file, or one that is still being written. DataError with the line where it cannot be read."""
        reader = _Reader()
        for number, body in read_lines(path):
            try:
                reader.take(body)
            except ValueError as error:
                raise DataError(f"{path}:{number}: not a line of records: {error}.") from None
        if reader.header is None:
            raise DataError(f"{str(path)!r} holds no records: it is empty.")
        answers = {model: reader.answers.get(model, Answers(reader.examples)) for model in reader.header.models}
        return cls(reader.header, reader.examples, answers)

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that was to be asked, in the order of the config's cascades: the target after its members."""
        return tuple(self.answers)

    @property
    def costs(self) -> dict[str, ModelCost]:
        """What each model costs, as the config said it."""
        return {name: ModelCost(**facts["cost"]) for name, facts in self.header.models.items()}

    @cached_property
    def config(self) -> AppConfig:
        """The serving config that the models were asked under. DataError if this version cannot read it."""
        try:
            return AppConfig.model_validate(self.header.config["args"])
        except ValidationError as error:
            raise DataError(f"The config in the records is not one that this version reads: {error}") from None

    def complete(self, models: Iterable[str] | None = None) -> list[int]:
        """Indices of the examples to which every one of `models` (default: all) has an answer or a failure."""
        asked = [self.answers[model] for model in (self.models if models is None else models)]
        rows = range(len(self.examples))
        return [i for i in rows if all(answers.without_logprobs(i) is not None for answers in asked)]


class _Reader:
    """Lines, one after another, into what `Records` holds."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.examples: list[Example] = []
        self.answers: dict[str, Answers] = {}
        self._places: dict[str, int] = {}

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
                raise ValueError(f"kind: {kind!r} is none of header, example, answer")

    def _example(self, body: dict[str, Any]) -> None:
        example = read_example(body)
        if example.id in self._places:
            raise ValueError(f"the example {example.id!r} stands there twice")
        self._places[example.id] = len(self.examples)
        self.examples.append(example)

    def _answer(self, body: dict[str, Any], header: Header) -> None:
        example, model = read_place(body)
        if model not in header.models:
            raise ValueError(f"the model {model!r} is not in the header")
        if example not in self._places:
            raise ValueError(f"the example {example!r} does not stand before its answer")
        self.answers.setdefault(model, Answers(self.examples)).put(self._places[example], body)


def read_example(body: Mapping[str, Any]) -> Example:
    """What `example_body` wrote; ValueError names the field."""
    return Example.read({name: value for name, value in body.items() if name != "kind"})


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each line that is whole. DataError where the file cannot be read, or a line is no JSON."""
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield number, parse_line(path, number, line)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"The records {str(path)!r} cannot be read: {error}.") from None


def parse_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """One line's JSON object, else DataError."""
    try:
        body = json.loads(line)
    except ValueError as error:
        raise DataError(f"{path}:{number}: not a line of records: {error}.") from None
    if not isinstance(body, dict):
        raise DataError(f"{path}:{number}: not a line of records: must be a JSON object.")
    return body


def encode_line(body: Mapping[str, Any]) -> bytes:
    """A line, in UTF-8 for people; in ASCII where a text holds half of a surrogate pair, which has no UTF-8."""
    try:
        return json.dumps(body, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(body).encode() + b"\n"


def _open(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path) if path.name.endswith(".gz") else path.open("rb"))
