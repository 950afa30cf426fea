"""What clients may send. A field of OpenAI's schema that is not honoured is refused by name, never dropped."""

import re
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from serve_app.api.chat.parts import ContentPart
from serve_app.api.chat.tolerated import IGNORED, NEUTRAL
from serve_app.api.chat.tools import FunctionTool, NamedToolChoice, ResponseFormat, Turn
from serve_app.api.fields.body import Body, Text
from serve_app.api.fields.cascade_options import StreamedOptions
from serve_app.api.fields.messages import FEW_MESSAGES, MAX_PARTS
from serve_app.api.fields.sampling import MAX_TOKENS
from serve_app.api.fields.stream_options import StreamOptions
from serve_app.api.fields.texts import as_list, up_to
from serve_app.api.fields.tools import MAX_TOOLS, check_choice
from serve_app.core.types.prompt import Image, ReasoningEffort
from serve_app.errors import quoted


class CompletionStreamOptions(StreamOptions):
    """The same, for streams whose usage is optional."""

    include_usage: bool = False


class ChatMessage(Turn):
    """One message; an assistant's that calls tools needs no content."""

    ignored = IGNORED["message"]

    content: Text | Annotated[list[ContentPart], Field(max_length=MAX_PARTS, fail_fast=True)] | None = Field(
        None, validate_default=True
    )
    name: Text | None = Field(None, description="Name of the author; `router.names` sets its use.")

    @field_validator("content")
    @classmethod
    def _require_content(
        cls, value: str | list[ContentPart] | None, info: ValidationInfo
    ) -> str | list[ContentPart] | None:
        if value is None and not info.data.get("tool_calls", True):
            raise ValueError("required, but missing")
        images = isinstance(value, list) and any(part.image_url is not None for part in value)
        if images and info.data.get("role") not in (None, "user"):
            raise ValueError('images only with role "user"')
        return value

    @property
    def text(self) -> str:
        """Return the content, with its parts joined."""
        content = self.content or ""
        return content if isinstance(content, str) else "".join(part.text or "" for part in content)

    @property
    def parts(self) -> tuple[str | Image, ...]:
        """Return all parts of a content with images, otherwise an empty tuple."""
        parts = () if not isinstance(self.content, list) else tuple(part.to_core() for part in self.content)
        return parts if any(isinstance(part, Image) for part in parts) else ()


MAX_BIASES = 1024
"""Tokens in one `logit_bias`."""
BIAS = 'must map up to 1024 token ids, such as "50256", to numbers from -100 to 100'
_TOKEN = re.compile("0|[1-9][0-9]{0,8}")


def _check_biases(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) > MAX_BIASES:
        raise ValueError(BIAS)
    for token, bias in value.items():
        number = isinstance(bias, int | float) and not isinstance(bias, bool)
        if not _TOKEN.fullmatch(token) or not number or not -100 <= bias <= 100:
            raise ValueError(BIAS)
    return value


LogitBias: TypeAlias = Annotated[dict[str, float], Field(max_length=MAX_BIASES), BeforeValidator(_check_biases)]
"""What is added to the logits of tokens, by their ids."""


class Completion(Body):
    """The fields that both kinds of completion share."""

    ignored = IGNORED["request"]
    neutral = NEUTRAL

    model: str = Field(min_length=1, description="A cascade, or a single model.")
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    stop: Text | Annotated[list[Text], Field(max_length=4, fail_fast=True)] | None = Field(
        None, description="Up to 4 strings that end the answer."
    )
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: LogitBias = {}
    n: int = Field(1, ge=1, le=8, description="How many answers of the model whose answer is returned.")
    stream: bool = False
    stream_options: CompletionStreamOptions | None = None
    user: str | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16, fail_fast=True)] | None = None
    cascade: StreamedOptions = StreamedOptions()

    @field_validator("stop", mode="before")
    @classmethod
    def _check_stop(cls, value: Any) -> Any:
        if value == "" or (isinstance(value, list) and (len(value) > 4 or "" in value)):
            raise ValueError("must be at most 4 strings, none of them empty")
        return value

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream: true")
        if self.cascade.events and not self.stream:
            raise ValueError("cascade.events: only with stream: true")
        return self


class ChatCompletion(Completion):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], FEW_MESSAGES] = Field(min_length=1, fail_fast=True)
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    logprobs: bool = Field(False, description="Per-token log-probabilities of the answer; plain responses only.")
    top_logprobs: int = Field(0, ge=0, le=20, description="Likeliest tokens beside each token; needs `logprobs`.")
    tools: list[FunctionTool] = Field(
        [], max_length=MAX_TOOLS, fail_fast=True, description="Functions that the model may call."
    )
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool = True
    response_format: ResponseFormat | None = None
    reasoning_effort: ReasoningEffort | None = Field(None, description="How hard models think before they answer.")
    max_reasoning_tokens: int | None = Field(
        None, ge=1, le=MAX_TOKENS, description="Longest reasoning of each model; a field of this server's."
    )

    @model_validator(mode="after")
    def _no_contradictions(self) -> Self:
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise ValueError("max_tokens: contradicts max_completion_tokens")
        if self.logprobs and self.stream:
            raise ValueError("logprobs: not honoured together with stream: true")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs: needs logprobs: true")
        return self

    @model_validator(mode="after")
    def _tools_fit(self) -> Self:
        choice = self.tool_choice
        tool_name = choice.function.name if isinstance(choice, NamedToolChoice) else None
        check_choice(
            [tool.function.name for tool in self.tools], tool_name, demanded=choice not in (None, "none", "auto")
        )
        return self

    @model_validator(mode="after")
    def _calls_are_answered_once_made(self) -> Self:
        call_ids: set[str] = set()
        for number, message in enumerate(self.messages):
            call_ids |= {call.id for call in message.tool_calls}
            if message.tool_call_id is not None and message.tool_call_id not in call_ids:
                field = f"messages[{number}].tool_call_id"
                raise ValueError(f"{field}: no assistant's message before has a call {quoted(message.tool_call_id)}")
        return self


MAX_PROMPTS = 16
"""Prompts in one request; each is a run of the cascade."""


class TextCompletion(Completion):
    """`POST /v1/completions`: the prompt goes to the models as it is, without a chat template."""

    prompt: Annotated[Text | Annotated[list[Text], Field(max_length=MAX_PROMPTS, fail_fast=True)], up_to(MAX_PROMPTS)]

    @model_validator(mode="after")
    def _one_streams(self) -> Self:
        if self.stream and len(self.prompts) > 1:
            raise ValueError("stream: not honoured with several prompts")
        return self

    @property
    def prompts(self) -> list[str]:
        """Return all prompts, often one."""
        return as_list(self.prompt)
