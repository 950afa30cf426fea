"""OpenAI's requests for responses -> prompts."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from serve_app.api.fields.arguments import readable_arguments
from serve_app.api.fields.sampling import nucleus
from serve_app.api.fields.tools import to_choice
from serve_app.api.intake.ask import Ask
from serve_app.api.responses.items import FunctionCallItem, FunctionOutputItem, Item, MessageItem, text_of
from serve_app.api.responses.schema import ResponseRequest
from serve_app.core.text.characters import whole
from serve_app.core.types.answer import Generation
from serve_app.core.types.prompt import Message, Prompt, Sampling, ToolCall
from serve_app.errors import RequestError, quoted


def to_ask(body: ResponseRequest, conversation: Sequence[Message]) -> Ask:
    """Return what the request asks about a conversation, whose messages end with those of its own input."""
    instructions = () if body.instructions is None else (Message("system", body.instructions),)
    tools = () if body.tool_choice == "none" else body.tools  # a tool that must not be called is not shown
    prompt = Prompt(
        (*instructions, *conversation),
        sampling=_sampling(body),
        tools=tuple(tool.to_core() for tool in tools),
        tool_choice=to_choice(body.tool_choice, body.tools),
        parallel_tool_calls=body.parallel_tool_calls or not tools,
        response_format=body.text.format.to_core(),
    )
    return Ask(body.model, prompt, body.cascade, body.stream)


def conversation_of(items: Iterable[Item], earlier: Sequence[Message], most: int) -> tuple[Message, ...]:
    """Return the earlier messages and those of the items; reasoning is left out.

    Raises `RequestError` if there are no messages, or more than `most`, or if a result has no call before it.
    """
    messages = list(earlier)
    call_ids = {call.id for message in messages for call in message.tool_calls}
    for number, item in enumerate(items):
        match item:
            case MessageItem(role=role):
                # OpenAI's newer name for the system role; chat templates only know the older one.
                messages.append(Message("system" if role == "developer" else role, text_of(item.content)))
            case FunctionCallItem():
                call_ids.add(item.call_id)
                _add_call(messages, item.to_core())
            case FunctionOutputItem():
                _check_call_id(item.call_id, call_ids, f"input[{number}].call_id")
                messages.append(Message("tool", text_of(item.output), tool_call_id=item.call_id))
    if not messages:
        raise RequestError("input: needs an item that is not reasoning.", "input")
    if len(messages) > most:
        raise RequestError(f"input: makes {len(messages)} messages with the earlier ones, at most {most} fit.", "input")
    return tuple(messages)


def _add_call(messages: list[Message], call: ToolCall) -> None:
    """Put a call into the assistant's message before it, if there is one: chat templates know calls there only."""
    if messages and messages[-1].role == "assistant":
        messages[-1] = replace(messages[-1], tool_calls=(*messages[-1].tool_calls, call))
    else:
        messages.append(Message("assistant", "", (call,)))


def _check_call_id(call_id: str, call_ids: set[str], field: str) -> None:
    if call_id not in call_ids:
        raise RequestError(f"{field}: no function_call before has the call_id {quoted(call_id)}.", field)


def _sampling(body: ResponseRequest) -> Sampling:
    return Sampling(
        body.max_output_tokens,
        body.temperature,
        nucleus(body.top_p),
        logprobs=body.logprobs,
        top_logprobs=body.top_logprobs,
        reasoning_effort=body.reasoning.effort,
        max_reasoning_tokens=body.max_reasoning_tokens,
    )


def answer_message(answer: Generation) -> Message:
    """Return an answer as the message that its items become when a client sends them back."""
    calls = tuple(
        ToolCall(whole(call.id), whole(call.name), readable_arguments(whole(call.arguments)))
        for call in answer.tool_calls
    )
    return Message("assistant", whole(answer.text), calls)
