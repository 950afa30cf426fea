"""Which requests a cascade's models can honour: a field that an engine cannot honour is refused, never dropped."""

from collections.abc import Iterator, Mapping

from serve_app.core.types.prompt import Prompt, Sampling
from serve_app.engines import EngineSettings
from serve_app.errors import RequestError

SAMPLING_SUBJECTS = {
    "frequency_penalty": "penalties",
    "presence_penalty": "penalties",
    "logit_bias": "biases of tokens",
    "top_logprobs": "alternatives to tokens",
}
"""Names of what the fields of `engines.base.OPTIONAL_SAMPLING` request."""


def check_honoured(prompt: Prompt, models: Mapping[str, EngineSettings]) -> None:
    """Raise `RequestError` with the field and the models if one of `models`, by name, cannot honour the prompt."""
    without_tools = [name for name, model in models.items() if not model.honours_tools]
    without_format = [name for name, model in models.items() if not model.honours_response_format]
    without_effort = [name for name, model in models.items() if not model.honours_reasoning_effort]
    without_limit = [name for name, model in models.items() if not model.honours_max_reasoning_tokens]
    effort, limit = prompt.sampling.reasoning_effort, prompt.sampling.max_reasoning_tokens
    blind = [name for name, model in models.items() if not model.honours_images]
    not_fetching = [name for name, model in models.items() if not model.honours_image_urls]
    images = [image for message in prompt.messages for image in message.images]
    called = any(message.tool_calls or message.role == "tool" for message in prompt.messages)
    if prompt.sampling.logit_bias and len(models) > 1:
        message = "logit_bias: only for a single model, not for a cascade, whose models have different token ids."
        raise RequestError(message, "logit_bias")
    for is_used, field, subject, unable in (
        (bool(prompt.tools), "tools", "tools", without_tools),
        (called, "messages", "calls of tools in messages", without_tools),
        (prompt.response_format is not None, "response_format", "response formats", without_format),
        (bool(images), "messages", "images", blind),
        (any(image.remote for image in images), "messages", "http(s) URLs of images", not_fetching),
        *_sampling(prompt.sampling, models),
        (effort not in (None, "none"), "reasoning_effort", "reasoning efforts other than none", without_effort),
        (limit is not None, "max_reasoning_tokens", "limits to reasoning", without_limit),
    ):
        if is_used and unable:
            message = f"{field}: {subject} are not honoured by {', '.join(map(repr, unable))}, which would be asked."
            raise RequestError(message, field)


def _sampling(sampling: Sampling, models: Mapping[str, EngineSettings]) -> Iterator[tuple[bool, str, str, list[str]]]:
    """Yield whether each optional field is used, its name, what it asks for, and the models that cannot honour it."""
    for field, subject in SAMPLING_SUBJECTS.items():
        unable = [name for name, model in models.items() if field not in model.honours_sampling]
        yield bool(getattr(sampling, field)), field, subject, unable
