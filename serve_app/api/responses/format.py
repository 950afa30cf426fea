"""Answers as OpenAI's responses: whole ones and the typed events of streams."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import TypeAlias
from uuid import uuid4

from serve_app.api.answering.answer_format import WithoutProgress
from serve_app.api.answering.logprobs import logprobs_json
from serve_app.api.encoding import KEEPALIVE
from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.responses.output import OutputStream, Status, end_status, output_items
from serve_app.api.responses.schema import ResponseRequest
from serve_app.api.responses.tools import NamedToolChoice
from serve_app.core.record import DecisionRecord, Usage
from serve_app.core.record_json import JsonObject, to_json
from serve_app.core.types.answer import Delta, Generation

Keep: TypeAlias = Callable[[str, JsonObject, Generation], Awaitable[bool]]
"""Keeps a response under its id, with its answer, and returns whether that succeeded."""

FIELD_NAMES = {
    "messages": "input",
    "response_format": "text.format",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "logprobs": "include",
}


class ResponsesFormat(WithoutProgress):
    """The format of one response, with its id and time; an `AnswerFormat`. `keep` is None if it is not to be kept."""

    field_names = FIELD_NAMES

    def __init__(self, body: ResponseRequest, keep: Keep | None) -> None:
        self.id = f"resp_{uuid4().hex}"
        self._created = int(time.time())
        self._logprobs = body.logprobs
        self._keep = keep
        self._request = _echo(body)
        self._stream = OutputStream()

    async def response(self, answers: Sequence[Generation], usage: Usage, record: DecisionRecord) -> JsonObject:
        """Build a whole plain response, and keep it."""
        [answer] = answers
        logprobs = logprobs_json(answer.logprobs or ()) if self._logprobs else []
        return await self._ended(output_items(answer, logprobs), answer, usage, record)

    def opening(self) -> Iterator[bytes]:
        """Yield the two events of a response without any output."""
        response = self._response("in_progress")
        yield self._stream.event("response.created", response=response)
        yield self._stream.event("response.in_progress", response=response)

    def waiting(self) -> Iterator[bytes]:
        """Yield a comment line."""
        yield KEEPALIVE

    def delta(self, delta: Delta) -> Iterator[bytes]:
        """Yield the events of reasoning, and of text."""
        if delta.reasoning:
            yield from self._stream.text("reasoning_text", delta.reasoning)
        if delta.text:
            yield from self._stream.text("output_text", delta.text)

    async def ending(
        self, answers: Sequence[Generation], usage: Usage, record: DecisionRecord
    ) -> AsyncGenerator[bytes, None]:
        """Yield the end of the text, the calls, and the whole response with the record; it is kept."""
        [answer] = answers
        status = end_status(answer)
        for part in self._items_ended(answer, status):
            yield part
        response = await self._ended(self._stream.items, answer, usage, record)
        yield self._stream.event(f"response.{status}", response=response)

    def failed(self, detail: ErrorDetail, record: DecisionRecord | None) -> Iterator[bytes]:
        """Yield a `response.failed` with the record, or an `error` if there is none."""
        about = {"message": detail.message, "param": detail.param}
        if record is None:
            yield self._stream.event("error", code=detail.code or detail.kind, **about)
            return
        error = {"code": _error_code(detail), "type": detail.kind} | about
        response = self._response("failed", self._stream.items) | {"error": error, "cascade": to_json(record)}
        yield self._stream.event("response.failed", response=response)

    def _items_ended(self, answer: Generation, status: Status) -> Iterator[bytes]:
        """Yield the end of the text, and the calls."""
        stream = self._stream
        if not answer.text and not answer.tool_calls:
            yield from stream.text("output_text", "")
        yield from stream.close("completed" if answer.tool_calls else status)
        for number, call in enumerate(answer.tool_calls, 1):
            yield from stream.call(call, status if number == len(answer.tool_calls) else "completed")

    async def _ended(
        self, output: list[JsonObject], answer: Generation, usage: Usage, record: DecisionRecord
    ) -> JsonObject:
        status = end_status(answer)
        response = self._response(status, output) | {"usage": _usage(usage), "cascade": to_json(record)}
        if status == "completed":
            response["completed_at"] = int(time.time())
        else:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        response["store"] = self._keep is not None and await self._keep(self.id, response, answer)
        return response

    def _response(self, status: str, output: list[JsonObject] | None = None) -> JsonObject:
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": output or [],
            "usage": None,
            "store": self._keep is not None,
        } | self._request


def _echo(body: ResponseRequest) -> JsonObject:
    """Return the fields of a response that repeat its request."""
    choice = body.tool_choice or "auto"
    return {
        "model": body.model,
        "instructions": body.instructions,
        "previous_response_id": body.previous_response_id,
        "max_output_tokens": body.max_output_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "text": {"format": body.text.format.model_dump(by_alias=True), "verbosity": "medium"},
        "tools": [tool.model_dump() for tool in body.tools],
        "tool_choice": choice.model_dump() if isinstance(choice, NamedToolChoice) else choice,
        "parallel_tool_calls": body.parallel_tool_calls,
        "reasoning": {"effort": body.reasoning.effort, "summary": None},
        "metadata": body.metadata or {},
        "user": body.user,
        "background": False,
        "top_logprobs": body.top_logprobs,
        "truncation": "disabled",
    }


def _error_code(detail: ErrorDetail) -> str:
    if detail.kind == "rate_limit_error":
        return "rate_limit_exceeded"
    return "invalid_prompt" if detail.status < 500 else "server_error"


def _usage(usage: Usage) -> JsonObject:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
