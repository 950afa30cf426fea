"""Token counts of imported answers: the source's own, else a tokenizer's, else estimates from their lengths."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from serve_app.core.cost import estimated_prompt_tokens, estimated_tokens
from serve_app.core.types.answer import Failure, Generation
from serve_app.core.types.prompt import Prompt
from serve_app.errors import DataError, UsageError, choices
from serve_app.evaluation.importing.formats.rows import Row
from serve_app.evaluation.importing.named_path import named_path
from serve_app.evaluation.records.tasks import Prompts

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TokenCounter:
    """Counts the tokens of answers whose source does not. Estimated counts are marked as such.

    `tokenizers` are those of single models by name; the one under None is for all others. A chat template's own tokens
    are not counted.
    """

    def __init__(self, tokenizers: dict[str | None, "Tokenizer"]) -> None:
        self._tokenizers = tokenizers
        self._prompts = Prompts()
        self._prompt_tokens: dict[tuple[int, str], int] = {}

    def check_models(self, models: Sequence[str]) -> None:
        """Raise DataError if a tokenizer is for a model that is not one of `models`."""
        for model in self._tokenizers:
            if model is not None and model not in models:
                raise UsageError(f"--tokenizer {model}=...: no model {model!r} was read. {choices(model, models)}")

    def counted(self, row: Row, model: str) -> Generation | Failure:
        """Return the row's answer with the tokens of its prompt and its text."""
        answer = row.answer
        if row.counted:
            return answer
        tokenizer = self._tokenizers.get(model, self._tokenizers.get(None))
        key = (id(tokenizer), row.example.id)
        if key not in self._prompt_tokens:
            prompt = Prompt(self._prompts.messages(row.example.task, row.example.prompt_inputs))
            self._prompt_tokens[key] = _prompt_tokens(tokenizer, prompt)
        text = answer.text if isinstance(answer, Generation) else ""
        return replace(
            answer,
            prompt_tokens=self._prompt_tokens[key],
            completion_tokens=estimated_tokens(text) if tokenizer is None else _length(tokenizer, text),
            estimated=tokenizer is None,
        )


def read_tokenizers(arguments: Sequence[str]) -> dict[str | None, "Tokenizer"]:
    """Return the tokenizers of `[MODEL=]PATH` arguments by model; None is the one for all models without their own.

    Raises DataError if a file is not a `tokenizer.json`, or the library is missing.
    """
    tokenizers: dict[str | None, Tokenizer] = {}
    for argument in arguments:
        model, path = named_path(argument)
        tokenizers[model] = _load(path)
    return tokenizers


def _load(path: Path) -> "Tokenizer":
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise DataError("--tokenizer needs the library: pip install 'semantic-cascade[evaluation]'.") from None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  # the library raises Exception itself
        raise DataError(f"{str(path)!r} is not a tokenizer.json: {error}.") from None


def _prompt_tokens(tokenizer: "Tokenizer | None", prompt: Prompt) -> int:
    if tokenizer is None:
        return estimated_prompt_tokens(prompt)
    return sum(_length(tokenizer, message.content) for message in prompt.messages)


def _length(tokenizer: "Tokenizer", text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)
