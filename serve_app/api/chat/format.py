"""Answers as OpenAI's completions: whole responses and chunks of streams."""

import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from uuid import uuid4

from serve_app.api.answering.answer_format import error_event
from serve_app.api.answering.logprobs import logprobs_json
from serve_app.api.chat.progress import progress_json
from serve_app.api.chat.schema import ChatCompletion, TextCompletion
from serve_app.api.encoding import KEEPALIVE, event
from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.errors.shape import error_json
from serve_app.core.cost import ModelCost
from serve_app.core.record import DecisionRecord, Usage
from serve_app.core.record_json import JsonObject, to_json
from serve_app.core.running.progress import Watched
from serve_app.core.types.answer import Delta, Generation
from serve_app.engines.wire.message import tool_calls_json


class CompletionFormat:
    """The format of one chat or text completion, with its id and time; an `AnswerFormat`."""

    def __init__(self, body: ChatCompletion | TextCompletion) -> None:
        self.chat = isinstance(body, ChatCompletion)
        self.model = body.model
        self.field_names = {} if self.chat else {"messages": "prompt"}
        self.logprobs = isinstance(body, ChatCompletion) and body.logprobs
        self.include_answers = body.cascade.include_answers
        self.include_usage = body.stream_options is not None and body.stream_options.include_usage
        self.id = f"{'chatcmpl' if self.chat else 'cmpl'}-{uuid4().hex}"
        self.created = int(time.time())

    async def response(self, answers: Sequence[Generation], usage: Usage, record: DecisionRecord) -> JsonObject:
        """Build a whole plain response."""
        return self._whole(answers, usage) | {"cascade": to_json(record)}

    def responses(self, answers: Sequence[Generation], usage: Usage, records: Sequence[DecisionRecord]) -> JsonObject:
        """Build a whole plain response to several prompts, with a record for each."""
        return self._whole(answers, usage) | {"cascade": [to_json(record) for record in records]}

    def _whole(self, answers: Sequence[Generation], usage: Usage) -> JsonObject:
        kind = "chat.completion" if self.chat else "text_completion"
        choices = [self._choice(index, answer) for index, answer in enumerate(answers)]
        return self._envelope(kind, choices) | {"usage": _usage(usage)}

    def _choice(self, index: int, answer: Generation) -> JsonObject:
        choice: JsonObject = {"index": index, "finish_reason": answer.finish_reason, "logprobs": None}
        if not self.chat:
            return choice | {"text": answer.text}
        return choice | {"message": _answer(answer), "logprobs": _logprobs(answer) if self.logprobs else None}

    def opening(self) -> Iterator[bytes]:
        """Yield the first chunk, which names the role; text completions have none."""
        if self.chat:
            yield event(self._chunk({"role": "assistant", "content": ""}))

    def waiting(self) -> Iterator[bytes]:
        """Yield a comment line."""
        yield KEEPALIVE

    def delta(self, delta: Delta) -> Iterator[bytes]:
        """Yield a chunk for each kind of text; text completions have no reasoning."""
        if self.chat and delta.reasoning:
            yield event(self._chunk({"reasoning_content": delta.reasoning}))
        if delta.text:
            yield event(self._chunk({"content": delta.text} if self.chat else delta.text))

    def progress(self, watched: Watched, costs: Mapping[str, ModelCost]) -> Iterator[bytes]:
        """Yield a chunk without choices, which clients pass over as they do one with the usage."""
        body = progress_json(watched, costs, answers=self.include_answers)
        yield event(self._envelope(self._chunk_kind, []) | {"cascade_event": body})

    async def ending(
        self, answers: Sequence[Generation], usage: Usage, record: DecisionRecord
    ) -> AsyncGenerator[bytes, None]:
        """Yield calls, finish reasons, further answers and the usage, with the record in the last chunk."""
        *chunks, last = self._endings(answers)
        if self.include_usage:
            chunks.append(last)
            last = self._envelope(self._chunk_kind, []) | {"usage": _usage(usage)}
        for chunk in [*chunks, last | {"cascade": to_json(record)}]:
            yield event(chunk)
        yield b"data: [DONE]\n\n"

    def _endings(self, answers: Sequence[Generation]) -> Iterator[JsonObject]:
        for index, answer in enumerate(answers):
            if index:
                yield self._chunk(_whole_delta(answer) if self.chat else answer.text, index=index)
            if answer.tool_calls:
                calls = [{"index": number} | call for number, call in enumerate(tool_calls_json(answer.tool_calls))]
                yield self._chunk({"tool_calls": calls}, index=index)
            yield self._chunk({} if self.chat else "", answer.finish_reason, index)

    def failed(self, detail: ErrorDetail, record: DecisionRecord | None) -> Iterator[bytes]:
        """Yield an event named `error`; no end mark follows."""
        yield error_event(error_json(detail), record)

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _chunk(self, content: object, finish_reason: str | None = None, index: int = 0) -> JsonObject:
        choice = {"index": index, "delta" if self.chat else "text": content, "finish_reason": finish_reason}
        chunk = self._envelope(self._chunk_kind, [choice | {"logprobs": None}])
        return chunk | {"usage": None} if self.include_usage else chunk

    def _envelope(self, kind: str, choices: list[JsonObject]) -> JsonObject:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def _whole_delta(answer: Generation) -> JsonObject:
    delta: JsonObject = {"role": "assistant", "content": answer.text}
    return delta | ({"reasoning_content": answer.reasoning} if answer.reasoning else {})


def _answer(answer: Generation) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool_calls:
        message |= {"content": answer.text or None, "tool_calls": tool_calls_json(answer.tool_calls)}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    return message


def _logprobs(answer: Generation) -> JsonObject | None:
    return None if answer.logprobs is None else {"content": logprobs_json(answer.logprobs), "refusal": None}


def _usage(usage: Usage) -> JsonObject:
    body: JsonObject = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.reasoning_tokens:
        body["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return body
