"""OpenAI's requests -> prompts; outcomes -> OpenAI's responses and stream chunks."""

import time
from uuid import uuid4

from serve_app.api.encoding import utf8
from serve_app.api.schema import ChatCompletion, ChatMessage, Completion, TextCompletion
from serve_app.api.service import Names
from serve_app.api.tools import NamedToolChoice
from serve_app.core.record import DecisionRecord, Usage
from serve_app.core.record_json import JsonObject, to_json
from serve_app.core.tools import ToolChoice
from serve_app.core.types import Generation, Message, Prompt, Sampling
from serve_app.engines.wire.message import tool_calls_json
from serve_app.errors import RequestError

LEAST_TOP_P = 1e-6
"""Stands for `top_p: 0`, which vLLM and samplers of a strict sum refuse: so small a nucleus is one token as well."""


def to_prompt(body: ChatCompletion | TextCompletion, names: Names = "ignore") -> Prompt:
    """Return the prompt that every model of the cascade gets. Raises `RequestError` if `names` refuses a name."""
    if isinstance(body, TextCompletion):
        return Prompt(text=body.prompt, sampling=_sampling(body, body.max_tokens, False))
    tools = () if body.tool_choice == "none" else body.tools  # a tool that must not be called is not shown
    form = body.response_format
    return Prompt(
        tuple(_message(number, message, names) for number, message in enumerate(body.messages)),
        sampling=_sampling(body, body.max_completion_tokens or body.max_tokens, body.logprobs),
        tools=tuple(tool.to_core() for tool in tools),
        tool_choice=_tool_choice(body),
        parallel_tool_calls=body.parallel_tool_calls or not tools,
        response_format=None if form is None else form.to_core(),
    )


def _tool_choice(body: ChatCompletion) -> ToolChoice | None:
    choice = body.tool_choice
    if not body.tools or choice is None or choice == "none":
        return None
    return choice.to_core() if isinstance(choice, NamedToolChoice) else choice


def _message(number: int, message: ChatMessage, names: Names) -> Message:
    if message.name is not None and names == "refuse":
        field = f"messages[{number}].name"
        raise RequestError(f"{field}: not honoured by this server (router.names: refuse).", field)
    # OpenAI's newer name for the system role; chat templates only know the older one.
    role = "system" if message.role == "developer" else message.role
    calls = tuple(call.to_core() for call in message.tool_calls)
    return Message(role, _named_text(message) if names == "prefix" else message.text, calls, message.tool_call_id)


def _named_text(message: ChatMessage) -> str:
    """Return the text after the speaker's name. A tool's name is its function's, which the call shows already."""
    named = message.name and message.text and message.role != "tool"
    return f"{message.name}: {message.text}" if named else message.text


def _sampling(body: Completion, max_tokens: int | None, logprobs: bool) -> Sampling:
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    top_p = LEAST_TOP_P if body.top_p == 0 else body.top_p
    return Sampling(max_tokens, body.temperature, top_p, stop, body.seed, logprobs)


class Dialect:
    """The names that one kind of completion uses, and one response's id and time."""

    def __init__(self, body: ChatCompletion | TextCompletion) -> None:
        self.chat = isinstance(body, ChatCompletion)
        self.model = body.model
        self.prompt_field = "messages" if self.chat else "prompt"
        self.logprobs = isinstance(body, ChatCompletion) and body.logprobs
        self.include_usage = body.stream_options is not None and body.stream_options.include_usage
        self.id = f"{'chatcmpl' if self.chat else 'cmpl'}-{uuid4().hex}"
        self.created = int(time.time())

    def response(self, answer: Generation, usage: Usage, record: DecisionRecord) -> JsonObject:
        """Build a whole plain response."""
        choice: JsonObject = {"index": 0, "finish_reason": answer.finish_reason, "logprobs": None}
        if self.chat:
            choice["message"] = _answer(answer)
            choice["logprobs"] = _logprobs(answer) if self.logprobs else None
        else:
            choice["text"] = answer.text
        kind = "chat.completion" if self.chat else "text_completion"
        return self._envelope(kind, [choice]) | {"usage": _usage(usage), "cascade": to_json(record)}

    def opening(self) -> JsonObject | None:
        """Build the first chunk of a stream, which names the role; text completions have none."""
        return self._chunk({"role": "assistant", "content": ""}) if self.chat else None

    def delta(self, text: str) -> JsonObject:
        """Build a chunk with a piece of the answer."""
        return self._chunk({"content": text} if self.chat else text)

    def tool_calls(self, answer: Generation) -> JsonObject:
        """Build the chunk with all tool calls, each in one piece."""
        calls = [{"index": index} | call for index, call in enumerate(tool_calls_json(answer.tool_calls))]
        return self._chunk({"tool_calls": calls})

    def ending(self, answer: Generation) -> JsonObject:
        """Build the last chunk of the answer, with its finish reason."""
        return self._chunk({} if self.chat else "", answer.finish_reason)

    def usage(self, usage: Usage) -> JsonObject:
        """Build the chunk that `stream_options.include_usage` requests; it has no choices."""
        return self._envelope(self._chunk_kind, []) | {"usage": _usage(usage)}

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _chunk(self, content: object, finish_reason: str | None = None) -> JsonObject:
        choice = {"index": 0, "delta" if self.chat else "text": content, "finish_reason": finish_reason}
        chunk = self._envelope(self._chunk_kind, [choice | {"logprobs": None}])
        return chunk | {"usage": None} if self.include_usage else chunk

    def _envelope(self, kind: str, choices: list[JsonObject]) -> JsonObject:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def _answer(answer: Generation) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool_calls:
        message |= {"content": answer.text or None, "tool_calls": tool_calls_json(answer.tool_calls)}
    return message


def _logprobs(answer: Generation) -> JsonObject | None:
    if answer.logprobs is None:
        return None
    tokens = [
        {
            "token": item.token,
            "logprob": item.logprob,
            "bytes": list(utf8(item.token)),
            "top_logprobs": [],
        }
        for item in answer.logprobs
    ]
    return {"content": tokens, "refusal": None}


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def headers(record: DecisionRecord) -> dict[str, str]:
    """Return the decision as headers of a plain response, for clients and logs that do not read the body."""
    decision = record.tiers[0].decision
    agreement = decision.agreement if decision else None
    shown = {
        "x-cascade-deferred": str(record.deferred).lower(),
        "x-cascade-answered-by": record.answered_by,
        "x-cascade-agreement": None if agreement is None else f"{agreement:.6g}",
    }
    return {name: value for name, value in shown.items() if value is not None}
