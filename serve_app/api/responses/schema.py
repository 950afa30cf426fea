"""What clients may send to `/v1/responses`. A field that is not honoured is refused by name, never dropped."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serve_app.api.fields.body import Body, Text
from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.fields.messages import FEW_MESSAGES
from serve_app.api.fields.sampling import MAX_TOKENS
from serve_app.api.fields.stream_options import StreamOptions
from serve_app.api.fields.tools import MAX_TOOLS, check_choice
from serve_app.api.responses.items import Item, MessageItem
from serve_app.api.responses.tolerated import IGNORED, NEUTRAL, Includable
from serve_app.api.responses.tools import FunctionTool, NamedToolChoice, TextConfig
from serve_app.core.types.prompt import ReasoningEffort

LOGPROBS: Literal["message.output_text.logprobs"] = "message.output_text.logprobs"


class Reasoning(Body):
    """How much a model may think before it answers."""

    ignored = IGNORED["`reasoning`"]

    effort: ReasoningEffort | None = None


class ResponseRequest(Body):
    """`POST /v1/responses`."""

    ignored = IGNORED["the request"]
    neutral = NEUTRAL

    model: str = Field(min_length=1, description="A cascade, or a single model.")
    input: Annotated[Text | Annotated[list[Item], Field(min_length=1, fail_fast=True)], FEW_MESSAGES] = Field(
        description="The user's text, or messages, calls of functions, their results, and reasoning."
    )
    instructions: Text | None = Field(None, description="A system message before the conversation, for this answer.")
    previous_response_id: str | None = Field(None, description="A kept response whose conversation goes on.")
    store: bool | None = Field(None, description="Whether to keep the response for a while; so it is, by default.")
    max_output_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    text: TextConfig = TextConfig()
    tools: list[FunctionTool] = Field(
        [], max_length=MAX_TOOLS, fail_fast=True, description="Functions that the model may call."
    )
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool = True
    reasoning: Reasoning = Reasoning()
    max_reasoning_tokens: int | None = Field(
        None, ge=1, le=MAX_TOKENS, description="Longest reasoning of each model; a field of this server's."
    )
    include: list[Includable] = Field(
        [], max_length=64, fail_fast=True, description="`message.output_text.logprobs`; the others have no effect."
    )
    top_logprobs: int = Field(0, ge=0, le=20, description="Likeliest tokens beside each token of the answer.")
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16, fail_fast=True)] | None = None
    cascade: CascadeOptions = CascadeOptions()

    @property
    def items(self) -> list[Item]:
        """Return the input as items."""
        if isinstance(self.input, str):
            return [MessageItem(role="user", content=self.input)]
        return self.input

    @property
    def logprobs(self) -> bool:
        """Return whether the answer's log-probabilities are asked for."""
        return LOGPROBS in self.include

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream: true")
        if self.logprobs and self.stream:
            raise ValueError(f"include: {LOGPROBS} is not honoured together with stream: true")
        if self.top_logprobs and not self.logprobs:
            raise ValueError(f"top_logprobs: needs {LOGPROBS} in include")
        return self

    @model_validator(mode="after")
    def _tools_fit(self) -> Self:
        choice = self.tool_choice
        tool_name = choice.name if isinstance(choice, NamedToolChoice) else None
        check_choice([tool.name for tool in self.tools], tool_name, demanded=choice not in (None, "none", "auto"))
        return self
