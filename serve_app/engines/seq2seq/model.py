"""Loading an encoder-decoder with transformers, and what its tokeniser makes of a prompt."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.core.text.characters import whole
from serve_app.core.types.prompt import Prompt
from serve_app.errors import EngineError, UnsupportedRequestError
from serve_app.torch_models import best_device, quiet


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model, its tokeniser, and what its configuration says of how an answer begins and ends."""

    model: Any
    tokenizer: Any
    chat_template: str | None
    prefix: tuple[int, ...]  # what the decoder reads before the first token of an answer
    end_tokens: frozenset[int]
    relative_positions: bool

    def tokens(self, prompt: Prompt) -> list[int]:
        """Return the token ids that the encoder reads. Raises `EngineError` if the chat template refuses the messages.

        A chat template brings its special tokens along. Most of these models have none: then the messages' contents
        follow each other, a blank line between them, and the tokeniser ends them as it ends any text.
        """
        template = self.chat_template or self.tokenizer.chat_template
        if prompt.text is not None:
            text, special = prompt.text, True
        elif template:
            text, special = self._filled(template, prompt), False
        else:
            text, special = "\n\n".join(message.content for message in prompt.messages), True
        ids: list[int] = self.tokenizer(whole(text), add_special_tokens=special)["input_ids"]
        return ids

    def _filled(self, template: str, prompt: Prompt) -> str:
        from jinja2 import TemplateError

        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        try:
            text: str = self.tokenizer.apply_chat_template(
                messages, chat_template=template, add_generation_prompt=True, tokenize=False
            )
        except TemplateError as error:
            message = f"The chat template could not take the messages: {error}."
            raise UnsupportedRequestError(message, "messages") from error
        return text


def load_model(
    weights: Path,
    *,
    device: str | None,
    dtype: str,
    threads: int | None,
    context_tokens: int,
    chat_template: str | None,
    trusts_code: bool,
) -> LoadedModel:
    """Load the model in a folder in Hugging Face format, without network access.

    The folder's code and pickles are not run unless `trusts_code`. Raises `EngineError` if it cannot be loaded.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise EngineError(f"seq2seq cannot be loaded ({error}): pip install 'semantic-cascade[seq2seq]'.") from error
    if not weights.is_dir():
        raise EngineError(f"There is no folder of model files at {str(weights)!r}.")
    if threads is not None:
        torch.set_num_threads(threads)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trusts_code}
    numbers = {"dtype": getattr(torch, dtype), "use_safetensors": None if trusts_code else True}
    try:
        with quiet():
            facts = transformers.AutoConfig.from_pretrained(weights, **options)
            _check(weights, facts, context_tokens)
            tokenizer = transformers.AutoTokenizer.from_pretrained(weights, **options)
            model = transformers.AutoModelForSeq2SeqLM.from_pretrained(weights, **numbers, **options)
        model = model.to(device or best_device()).eval()
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, AssertionError) as error:
        raise EngineError(f"transformers could not load {str(weights)!r}: {error}") from error
    start, end = _start(weights, model), _ids(model.generation_config.eos_token_id)
    # The T5 family counts the distance between tokens; the configurations of the others have no such buckets.
    relative = "relative_attention_num_buckets" in facts.to_dict()
    return LoadedModel(model, tokenizer, chat_template, start, frozenset(end), relative)


def _check(weights: Path, facts: Any, context_tokens: int) -> None:
    if not facts.is_encoder_decoder:
        kind = facts.model_type
        raise EngineError(f"{str(weights)!r} holds a model of type {kind!r}, which is not an encoder-decoder.")
    positions = facts.to_dict().get("max_position_embeddings")
    if positions is not None and context_tokens > positions:
        raise EngineError(f"context_tokens is {context_tokens}, but {str(weights)!r} has only {positions} positions.")


def _start(weights: Path, model: Any) -> tuple[int, ...]:
    """Return the decoder's start token, and the token that some models (BART, translators) must begin with."""
    defaults = model.generation_config
    start = defaults.bos_token_id if defaults.decoder_start_token_id is None else defaults.decoder_start_token_id
    if start is None:
        raise EngineError(f"The configuration in {str(weights)!r} names no decoder_start_token_id.")
    return (start, *_ids(defaults.forced_bos_token_id))


def _ids(value: int | list[int] | None) -> list[int]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
