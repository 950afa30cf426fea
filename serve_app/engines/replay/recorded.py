"""Files of recorded answers: prompts with their answers, or the records of an evaluation, of which one model's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import ValidationError

from serve_app.core.sampling import base_name, parsed_name
from serve_app.core.types.prompt import Message, Prompt
from serve_app.engines.replay.tape import RecordedAnswer
from serve_app.errors import DataError, EngineError, choices
from serve_app.files.json_lines import Object, read_appended, read_json_lines
from serve_app.files.task_prompts import own_messages, templated_messages
from serve_app.files.text import Line

R = TypeVar("R", bound=RecordedAnswer)
Conversation: TypeAlias = tuple[tuple[str, str], ...]
"""The role and the text of every message."""
Key: TypeAlias = str | Conversation
"""What an answer is looked up by: the prompt's text, or the whole conversation."""
Recorded: TypeAlias = Mapping[int | None, Mapping[Key, RecordedAnswer]]
"""Answers of a model's samples by their numbers, and under None the model's own."""
PLAYED = (
    "text",
    "reasoning",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "estimated",
    "logprobs",
    "tool_calls",
)
"""Fields of an answer in evaluation's records that are played; the latency is not, which the engine models."""


class Record(RecordedAnswer):
    """One line of a file of prompts and answers."""

    prompt: str


def conversation(prompt: Prompt) -> Conversation:
    """Return the key of a prompt among conversations; a raw text counts as one user message."""
    if prompt.text is not None:
        return (("user", prompt.text),)
    return _conversation(prompt.messages)


def read_records(path: Path, model: str | None) -> Recorded:
    """Return the answers of a file by what they answer, of evaluation's records those of one model and its samples.

    Of several answers to one prompt the last counts. Raises EngineError, with file, line and field, if the file cannot
    be used.
    """
    try:
        if model is not None:
            return _Evaluation(path, model).answers()
        with read_json_lines(path) as lines:
            records = [_record(line, Record, body) for line, body in lines]
    except DataError as error:
        raise EngineError(f"The replay engine cannot use its records: {error}") from error
    return {None: {record.prompt: record for record in records}}


class _Evaluation:
    """Reads the answers of one model, and of its samples, from the records of `cascade collect` or `cascade import`."""

    def __init__(self, path: Path, model: str) -> None:
        self._path = path
        self._model = model
        self._templates: Mapping[str, str] = {}
        self._models: Mapping[str, Any] = {}
        self._conversations: dict[str, Conversation] = {}
        self._answers: dict[str, dict[Key, RecordedAnswer]] = {}

    def answers(self) -> Recorded:
        """Read the file. A recorded prompt that the model did not answer has an error for an answer."""
        with read_appended(self._path) as lines:
            for line, body in lines:
                try:
                    self._take(line, body)
                except (AttributeError, LookupError, TypeError, ValueError) as error:
                    raise DataError(
                        f"{line.where}: not a line of evaluation's records ({error!r}), which recorded_model needs."
                    ) from None
        if not self._answers:
            raise DataError(f"{self._path} has no model {self._model!r}. {choices(self._model, self._models)}")
        for name, answers in self._answers.items():
            missing = RecordedAnswer(error=f"The records have no answer of {name!r} to this prompt.")
            for conversation in self._conversations.values():
                answers.setdefault(conversation, missing)
        return {self._number(name): answers for name, answers in self._answers.items()}

    def _number(self, name: str) -> int | None:
        parts = None if name == self._model else parsed_name(name)
        return parts and parts[1]

    def _take(self, line: Line, body: Object) -> None:
        match body["kind"]:
            case "header":
                self._templates, self._models = body["prompts"]["texts"], body["models"]
                for name in self._models:
                    if self._model in (name, base_name(name)):
                        self._answers.setdefault(name, {})
            case "example":
                self._conversations[body["id"]] = self._conversation_of(body["task"], body["prompt_inputs"])
            case "answer" if body["model"] in self._answers:
                conversation = self._conversations[body["example"]]
                self._answers[body["model"]][conversation] = _record(line, RecordedAnswer, _played(body))

    def _conversation_of(self, task: str, inputs: Mapping[str, Any]) -> Conversation:
        template = self._templates.get(task)
        return _conversation(own_messages(inputs) if template is None else templated_messages(template, inputs))


def _conversation(messages: tuple[Message, ...]) -> Conversation:
    return tuple((message.role, message.content) for message in messages)


def _played(body: Object) -> Object:
    if "failure" in body:
        return {"error": body["message"] or body["failure"], "prompt_tokens": body["prompt_tokens"]}
    return {name: body[name] for name in PLAYED if name in body}


def _record(line: Line, kind: type[R], body: Object) -> R:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "the line"
        raise DataError(f"{line.where}: {field}: {problem['msg']}.") from error
