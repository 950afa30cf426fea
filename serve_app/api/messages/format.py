"""Answers as Anthropic's messages: whole responses and events of streams."""

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from uuid import uuid4

from serve_app.api.answering.answer_format import WithoutProgress, error_event
from serve_app.api.encoding import event
from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.fields.arguments import readable_arguments
from serve_app.api.messages.errors import error_json
from serve_app.api.messages.schema import MessageRequest
from serve_app.core.record import DecisionRecord, Usage
from serve_app.core.record_json import JsonObject, to_json
from serve_app.core.types.answer import Delta, FinishReason, Generation
from serve_app.core.types.prompt import ToolCall

STOP_REASONS: dict[FinishReason, str] = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
"""No engine reports whether it ended by itself or at a stop sequence, so `stop_sequence` is never set."""


class MessageFormat(WithoutProgress):
    """The format of one message, with its id and the block of its stream that is open; an `AnswerFormat`."""

    field_names = {
        "stop": "stop_sequences",
        "response_format": "output_config.format",
        "reasoning_effort": "output_config.effort",
        "max_reasoning_tokens": "thinking.budget_tokens",
    }

    def __init__(self, body: MessageRequest) -> None:
        self.model = body.model
        self.shows_thinking = body.thinking is None or body.thinking.display == "summarized"
        self.id = f"msg_{uuid4().hex}"
        self._index = -1
        self._open: str | None = None

    async def response(self, answers: Sequence[Generation], usage: Usage, record: DecisionRecord) -> JsonObject:
        """Build a whole plain response."""
        [answer] = answers
        blocks: list[JsonObject] = []
        if answer.reasoning and self.shows_thinking:
            blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": ""})
        if answer.text:
            blocks.append({"type": "text", "text": answer.text})
        blocks += [_call(call, json.loads(readable_arguments(call.arguments))) for call in answer.tool_calls]
        message = self._message(blocks, STOP_REASONS[answer.finish_reason], _usage(usage))
        return message | {"cascade": to_json(record)}

    def opening(self) -> Iterator[bytes]:
        """Yield the message without content; its tokens are not counted before its end."""
        message = self._message([], None, {"input_tokens": 0, "output_tokens": 0})
        yield _event("message_start", message=message)
        yield _event("ping")

    def waiting(self) -> Iterator[bytes]:
        """Yield a ping."""
        yield _event("ping")

    def delta(self, delta: Delta) -> Iterator[bytes]:
        """Yield a delta of the block for each kind of text, which is opened first."""
        if delta.reasoning and self.shows_thinking:
            yield from self._within("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            yield self._delta({"type": "thinking_delta", "thinking": delta.reasoning})
        if delta.text:
            yield from self._within("text", {"type": "text", "text": ""})
            yield self._delta({"type": "text_delta", "text": delta.text})

    async def ending(
        self, answers: Sequence[Generation], usage: Usage, record: DecisionRecord
    ) -> AsyncGenerator[bytes, None]:
        """Yield the calls, then why the message ended, with the usage and the record."""
        [answer] = answers
        for part in self._calls(answer.tool_calls):
            yield part
        end = {"stop_reason": STOP_REASONS[answer.finish_reason], "stop_sequence": None}
        yield _event("message_delta", delta=end, usage=_usage(usage), cascade=to_json(record))
        yield _event("message_stop")

    def failed(self, detail: ErrorDetail, record: DecisionRecord | None) -> Iterator[bytes]:
        """Yield an event named `error`; no `message_stop` follows."""
        yield error_event(error_json(detail), record)

    def _calls(self, calls: Sequence[ToolCall]) -> Iterator[bytes]:
        """Yield a block for each call, and the end of the one that is open."""
        for call in calls:
            yield from self._within(None)
            yield from self._within("tool_use", _call(call, {}))
            yield self._delta({"type": "input_json_delta", "partial_json": readable_arguments(call.arguments)})
        yield from self._within(None)

    def _message(self, content: list[JsonObject], stop_reason: str | None, usage: JsonObject) -> JsonObject:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": usage,
        }

    def _within(self, kind: str | None, block: JsonObject | None = None) -> Iterator[bytes]:
        """Yield what closes a block of another kind, and opens `block`; None closes only."""
        if kind == self._open:
            return
        if self._open is not None:
            yield _event("content_block_stop", index=self._index)
        if block is not None:
            self._index += 1
            yield _event("content_block_start", index=self._index, content_block=block)
        self._open = kind

    def _delta(self, delta: JsonObject) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)


def _event(name: str, **fields: object) -> bytes:
    return event({"type": name} | fields, name)


def _call(call: ToolCall, arguments: JsonObject) -> JsonObject:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _usage(usage: Usage) -> JsonObject:
    body: JsonObject = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
    if usage.reasoning_tokens:
        body["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return body
