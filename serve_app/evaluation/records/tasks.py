"""The prompts of tasks, the longest answers, and the metrics that grade answers by default.

Each task has one zero-shot prompt, the same for every model, in a text file of its own (`prompts/`): one user message,
with the example's `prompt_inputs` put in for the names in braces.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from serve_app.core.types.prompt import Message
from serve_app.errors import DataError, choices
from serve_app.files.task_prompts import own_messages, templated_messages
from serve_app.files.text import read_text

PROMPTS = Path(__file__).parent / "prompts"
"""The prompts that come with the package, one file a task."""


@dataclass(frozen=True, slots=True)
class Task:
    """`inputs` are the fields of an example's `prompt_inputs`; the first of `metrics` is the one that curves are of."""

    inputs: tuple[str, ...]
    max_tokens: int
    metrics: tuple[str, ...]


TASKS = {
    "translation": Task(("source_lang", "target_lang", "text"), 256, ("chrf", "bleu")),
    "summarization": Task(("document",), 160, ("rouge2", "rougeL")),
    "reading_comprehension": Task(("context", "question"), 48, ("f1", "exact_match")),
    "closed_book_qa": Task(("question",), 48, ("f1", "exact_match", "accuracy")),
    "custom": Task(("prompt", "messages"), 256, ("rougeL", "f1")),
}
"""`custom` has no prompt of ours: an example brings its `prompt` (a user message) or its `messages`."""

OFFICIAL_METRICS = {"triviaqa": ("triviaqa_f1", "triviaqa_em", "accuracy")}
"""Data sets with a script of their own, whose metrics take the place of their task's."""

ROLES = ("system", "user", "assistant")


class Prompts:
    """The prompts of all tasks, from a folder with a text file for each: ours, or the user's in its place."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._templates: dict[str, str] = {}

    def template(self, task: str) -> str:
        """Return a task's prompt template, the user's if their folder has one. Raises DataError if it is invalid."""
        if task not in self._templates:
            self._templates[task] = self._read(task)
        return self._templates[task]

    def messages(self, task: str, inputs: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return the messages that ask a model about an example with these (checked) inputs."""
        return own_messages(inputs) if task == "custom" else templated_messages(self.template(task), inputs)

    def _read(self, task: str) -> str:
        if self._folder is not None and not self._folder.is_dir():
            raise DataError(f"The folder of prompts {str(self._folder)!r} does not exist.")
        path = PROMPTS / f"{task}.txt"
        if self._folder is not None and (self._folder / path.name).exists():
            path = self._folder / path.name
        text = read_text(path).replace("\r\n", "\n")
        _check_template(path, text, TASKS[task].inputs)
        return text


def _check_template(path: Path, text: str, inputs: tuple[str, ...]) -> None:
    try:
        fields = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    except ValueError as error:
        raise DataError(f"{path}: {error}; write {{{{ or }}}} for a literal brace.") from None
    if unknown := sorted(fields - set(inputs)):
        sentence = f"{path}: there is no {{{unknown[0]}}}. {choices(unknown[0], inputs)}"
        raise DataError(f"{sentence} Write {{{{ or }}}} for a literal brace.")
    if missing := sorted(set(inputs) - fields):
        raise DataError(f"{path}: the prompt lacks {{{missing[0]}}}, so models would not see it.")
    try:
        text.format(**dict.fromkeys(inputs, ""))
    except (ValueError, KeyError) as error:
        raise DataError(f"{path}: write a name in braces without a format: {error}.") from None


def check_inputs(task: str, inputs: Any) -> None:
    """Raise ValueError, which names the field, if an example's `prompt_inputs` are invalid for its task."""
    if not isinstance(inputs, dict):
        raise ValueError("prompt_inputs: must be an object")
    if task == "custom":
        _check_custom(inputs)
        return
    required = TASKS[task].inputs
    if unknown := next((name for name in inputs if name not in required), None):
        raise ValueError(f"prompt_inputs.{unknown}: {task} has no such field. {choices(unknown, required)}".rstrip("."))
    for name in required:
        if name not in inputs:
            raise ValueError(f"prompt_inputs.{name}: required for {task}, but missing")
        if not isinstance(inputs[name], str):
            raise ValueError(f"prompt_inputs.{name}: must be a string")


def _check_custom(inputs: dict[str, Any]) -> None:
    if set(inputs) not in ({"prompt"}, {"messages"}):
        raise ValueError("prompt_inputs: custom has either a prompt or messages, and nothing else")
    if "prompt" in inputs:
        if not isinstance(inputs["prompt"], str):
            raise ValueError("prompt_inputs.prompt: must be a string")
        return
    messages = inputs["messages"]
    if not isinstance(messages, list) or not messages:
        raise ValueError("prompt_inputs.messages: must be a list of at least one message")
    for number, message in enumerate(messages):
        where = f"prompt_inputs.messages[{number}]"
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            raise ValueError(f"{where}: must be an object with a role and a content")
        if message["role"] not in ROLES:
            raise ValueError(f"{where}.role: must be one of {', '.join(ROLES)}")
        if not isinstance(message["content"], str):
            raise ValueError(f"{where}.content: must be a string")
