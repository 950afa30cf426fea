"""OpenAI's completion requests -> prompts."""

from dataclasses import replace

from serve_app.api.chat.schema import ChatCompletion, ChatMessage, Completion, TextCompletion
from serve_app.api.fields.sampling import nucleus
from serve_app.api.fields.tools import to_choice
from serve_app.api.intake.ask import Ask
from serve_app.api.service import Names
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.errors import RequestError


def to_ask(body: ChatCompletion, names: Names = "ignore") -> Ask:
    """Return what the request asks. Raises `RequestError` if `names` refuses a name."""
    return Ask(body.model, _prompt(body, names), body.cascade, body.stream, body.n, body.cascade.events)


def to_asks(body: TextCompletion) -> list[Ask]:
    """Return what each prompt of the request asks."""
    sampling = _sampling(body, body.max_tokens, False, 0)
    prompts = [Prompt(text=text, sampling=sampling) for text in body.prompts]
    return [Ask(body.model, prompt, body.cascade, body.stream, body.n, body.cascade.events) for prompt in prompts]


def _prompt(body: ChatCompletion, names: Names) -> Prompt:
    tools = () if body.tool_choice == "none" else body.tools  # a tool that must not be called is not shown
    form = body.response_format
    sampling = replace(
        _sampling(body, body.max_completion_tokens or body.max_tokens, body.logprobs, body.top_logprobs),
        reasoning_effort=body.reasoning_effort,
        max_reasoning_tokens=body.max_reasoning_tokens,
    )
    return Prompt(
        tuple(_message(number, message, names) for number, message in enumerate(body.messages)),
        sampling=sampling,
        tools=tuple(tool.to_core() for tool in tools),
        tool_choice=to_choice(body.tool_choice, body.tools),
        parallel_tool_calls=body.parallel_tool_calls or not tools,
        response_format=None if form is None else form.to_core(),
    )


def _message(number: int, message: ChatMessage, names: Names) -> Message:
    if message.name is not None and names == "refuse":
        field = f"messages[{number}].name"
        raise RequestError(f"{field}: not honoured by this server (router.names: refuse).", field)
    # OpenAI's newer name for the system role; chat templates only know the older one.
    role = "system" if message.role == "developer" else message.role
    calls = tuple(call.to_core() for call in message.tool_calls)
    speaker = _speaker(message) if names == "prefix" else ""
    parts = (speaker, *message.parts) if speaker and message.parts else message.parts
    return Message(role, speaker + message.text, calls, message.tool_call_id, parts)


def _speaker(message: ChatMessage) -> str:
    """Return what is written before the text. A tool's name is its function's, which the call shows already."""
    has_name = message.name and message.text and message.role != "tool"
    return f"{message.name}: " if has_name else ""


def _sampling(body: Completion, max_tokens: int | None, logprobs: bool, top_logprobs: int) -> Sampling:
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    return Sampling(
        max_tokens,
        body.temperature,
        nucleus(body.top_p),
        stop,
        body.seed,
        logprobs,
        frequency_penalty=body.frequency_penalty,
        presence_penalty=body.presence_penalty,
        logit_bias=tuple((int(token), bias) for token, bias in body.logit_bias.items()),
        top_logprobs=top_logprobs,
    )
