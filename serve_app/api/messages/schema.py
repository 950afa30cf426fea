"""What clients may send. A field of Anthropic's schema that is not honoured is refused by name, never dropped."""

from collections.abc import Iterator
from itertools import groupby
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from serve_app.api.fields.body import Body, Text
from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.fields.json_schema import JsonSchema
from serve_app.api.fields.messages import FEW_MESSAGES
from serve_app.api.fields.sampling import MAX_TOKENS
from serve_app.api.fields.tools import MAX_TOOLS, check_choice
from serve_app.api.fields.variants import by_field, variant
from serve_app.api.messages.blocks import AnyMessage, AssistantMessage, TaggedMessage, TextBlocks, UserMessage
from serve_app.api.messages.tolerated import IGNORED, NEUTRAL
from serve_app.api.messages.tools import Choice, ClientTool, NamedChoice
from serve_app.errors import quoted

MAX_STOPS = 16
"""Stop sequences of one request."""


class Metadata(Body):
    """Who asks; nothing is done with it."""

    user_id: str | None = None


class FreeThinking(Body):
    """No thinking, or as much as the model's own configuration says."""

    type: Literal["adaptive", "disabled"]
    display: Literal["summarized", "omitted"] = "summarized"


class LimitedThinking(Body):
    """Thinking within a budget of tokens."""

    type: Literal["enabled"]
    budget_tokens: int = Field(ge=1, le=MAX_TOKENS)
    display: Literal["summarized", "omitted"] = "summarized"


Thinking: TypeAlias = Annotated[
    Annotated[FreeThinking, variant("adaptive")]
    | Annotated[FreeThinking, variant("disabled")]
    | Annotated[LimitedThinking, variant("enabled")],
    by_field("type", "adaptive", "disabled", "enabled"),
]


class JsonFormat(Body):
    """The JSON schema that the answer's text must satisfy."""

    type: Literal["json_schema"]
    schema_: JsonSchema = Field(alias="schema")


class OutputConfig(Body):
    """What the answer must be, and how hard the models think before it."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] = "high"
    format: JsonFormat | None = None


class ClearThinking(Body):
    """An edit that removes earlier thinking, which models are never shown."""

    ignored = ("keep",)

    type: Literal["clear_thinking_20251015"]


class ContextManagement(Body):
    """Edits of the conversation; only those that change nothing here."""

    edits: list[ClearThinking] = Field([], max_length=16, fail_fast=True)


def turns(messages: list[AnyMessage]) -> Iterator[tuple[str, list[AnyMessage]]]:
    """Yield each turn, which is all messages of one role that follow each other, with its role."""
    for role, group in groupby(messages, key=lambda message: message.role):
        yield role, list(group)


class Conversation(Body):
    """The fields that are input."""

    ignored = IGNORED["request"]
    neutral = NEUTRAL

    model: str = Field(min_length=1, description="A cascade, or a single model.")
    system: Text | TextBlocks | None = None
    messages: Annotated[list[TaggedMessage], FEW_MESSAGES] = Field(min_length=1, fail_fast=True)
    tools: list[ClientTool] = Field(
        [], max_length=MAX_TOOLS, fail_fast=True, description="Tools that the model may call."
    )
    tool_choice: Choice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig = OutputConfig()
    context_management: ContextManagement | None = None

    @model_validator(mode="after")
    def _tools_fit(self) -> Self:
        choice = self.tool_choice
        tool_name = choice.name if isinstance(choice, NamedChoice) else None
        demanded = choice is not None and choice.type not in ("auto", "none")
        names = [tool.name for tool in self.tools]
        check_choice(names, tool_name, demanded=demanded, noun="tools", field="tool_choice.name")
        return self

    @model_validator(mode="after")
    def _ends_with_the_user(self) -> Self:
        if self.messages[-1].role == "assistant":
            field = f"messages[{len(self.messages) - 1}].role"
            raise ValueError(f"{field}: the last message must not be the assistant's; answers cannot be begun for it")
        return self

    @model_validator(mode="after")
    def _results_answer_calls(self) -> Self:
        number, calls = 0, set[str]()
        for _, turn in turns(self.messages):
            call_ids: set[str] = set()
            for message in turn:
                if isinstance(message, UserMessage):
                    _check_results(f"messages[{number}]", message, calls)
                elif isinstance(message, AssistantMessage):
                    _check_calls(f"messages[{number}]", message, call_ids)
                number += 1
            calls = call_ids
        return self


def _check_results(field: str, message: UserMessage, calls: set[str]) -> None:
    """Remove from `calls` those that the message answers. Raises `ValueError` for a result of another call."""
    for result in message.results:
        if result.tool_use_id not in calls:
            name = quoted(result.tool_use_id)
            raise ValueError(f"{field}.content: no call {name} in the assistant's turn before, or two results of it")
        calls.remove(result.tool_use_id)


def _check_calls(field: str, message: AssistantMessage, call_ids: set[str]) -> None:
    """Add the ids of the message's calls to those of its turn. Raises `ValueError` for a duplicate id."""
    for call in message.calls:
        if call.id in call_ids:
            raise ValueError(f"{field}.content: two calls have the id {quoted(call.id)}")
        call_ids.add(call.id)


class MessageRequest(Conversation):
    """`POST /v1/messages`."""

    max_tokens: int = Field(ge=1, le=MAX_TOKENS)
    temperature: float | None = Field(None, ge=0, le=1)
    top_p: float | None = Field(None, ge=0, le=1)
    stop_sequences: Annotated[list[Text], Field(max_length=MAX_STOPS, fail_fast=True)] = Field(
        [], description="Strings that end the answer."
    )
    stream: bool = False
    metadata: Metadata | None = None
    cascade: CascadeOptions = CascadeOptions()

    @field_validator("stop_sequences", mode="before")
    @classmethod
    def _check_stops(cls, value: Any) -> Any:
        if isinstance(value, list) and (len(value) > MAX_STOPS or "" in value):
            raise ValueError(f"must be at most {MAX_STOPS} strings, none of them empty")
        return value


class TokenCount(Conversation):
    """`POST /v1/messages/count_tokens`: a conversation; how it would be answered is ignored."""

    ignored = (
        *IGNORED["request"],
        *(name for name in MessageRequest.model_fields if name not in Conversation.model_fields),
    )
