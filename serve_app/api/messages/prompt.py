"""Anthropic's conversations -> prompts."""

from collections.abc import Iterable, Iterator, Sequence

from serve_app.api.fields.sampling import nucleus
from serve_app.api.intake.ask import Ask
from serve_app.api.messages.blocks import AnyMessage, AssistantMessage, UserMessage, joined
from serve_app.api.messages.schema import Conversation, LimitedThinking, MessageRequest, turns
from serve_app.api.messages.tools import NoTool
from serve_app.core.tools import AnswerSchema
from serve_app.core.types.prompt import Message, Prompt, ReasoningEffort, Sampling

BETWEEN_MESSAGES = "\n\n"
"""Joins the texts of messages of one turn: chat templates need turns to alternate, this API does not."""

EFFORTS: dict[str, ReasoningEffort | None] = {
    "low": "low",
    "medium": "medium",
    "high": None,  # this API's default, which its clients send to models that know no efforts, too
    "xhigh": "xhigh",
    "max": "xhigh",
}
"""This API's efforts, and the models'."""


def to_ask(body: MessageRequest) -> Ask:
    """Return what the request asks."""
    return Ask(body.model, to_prompt(body, _sampling(body)), body.cascade, body.stream)


def to_prompt(body: Conversation, sampling: Sampling) -> Prompt:
    """Return the prompt that the models are given."""
    choice = body.tool_choice
    forbidden = isinstance(choice, NoTool)  # a tool that must not be called is not shown
    form = body.output_config.format
    return Prompt(
        tuple(_messages(body)),
        sampling=sampling,
        tools=() if forbidden else tuple(tool.to_core() for tool in body.tools),
        tool_choice=choice.to_core() if body.tools and choice and not isinstance(choice, NoTool) else None,
        parallel_tool_calls=isinstance(choice, NoTool | None) or not choice.disable_parallel_tool_use,
        response_format=None if form is None else AnswerSchema("answer", form.schema_),
    )


def _sampling(body: MessageRequest) -> Sampling:
    return Sampling(
        body.max_tokens,
        body.temperature,
        nucleus(body.top_p),
        tuple(body.stop_sequences),
        reasoning_effort=_effort(body),
        max_reasoning_tokens=body.thinking.budget_tokens if isinstance(body.thinking, LimitedThinking) else None,
    )


def _effort(body: MessageRequest) -> ReasoningEffort | None:
    if body.thinking is not None and body.thinking.type == "disabled":
        return "none"
    return EFFORTS[body.output_config.effort]


def _messages(body: Conversation) -> Iterator[Message]:
    if system := joined(body.system):
        yield Message("system", system)
    for role, turn in turns(body.messages):
        if role == "user":
            yield from _user_turn(turn)
        else:
            calls = [
                call.to_core() for message in turn if isinstance(message, AssistantMessage) for call in message.calls
            ]
            yield Message(role, _text(turn), tuple(calls))


def _user_turn(turn: Sequence[AnyMessage]) -> Iterator[Message]:
    """Yield the results first, since they belong to the calls of the turn before, then the user's text."""
    results = [result for message in turn if isinstance(message, UserMessage) for result in message.results]
    yield from (result.to_core() for result in results)
    text = _text(turn)
    if text or not results:
        yield Message("user", text)


def _text(turn: Iterable[AnyMessage]) -> str:
    return BETWEEN_MESSAGES.join(filter(None, (joined(message.content) for message in turn)))
