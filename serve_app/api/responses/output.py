"""The items of an answer, whole or as the events of a stream that build them up."""

from collections.abc import Iterator
from typing import Literal, TypeAlias
from uuid import uuid4

from serve_app.api.encoding import event
from serve_app.core.record_json import JsonObject
from serve_app.core.types.answer import Generation
from serve_app.core.types.prompt import ToolCall

Kind: TypeAlias = Literal["output_text", "reasoning_text"]
"""The kinds of text: an item of each has one part of this type, and events of this name."""
Status: TypeAlias = Literal["in_progress", "completed", "incomplete"]


def text_item(kind: Kind, id_: str, status: Status, text: str | None, logprobs: list[JsonObject]) -> JsonObject:
    """Build a message or an item of reasoning; one that has only begun has no text yet (None)."""
    content = [] if text is None else [text_part(kind, text, logprobs)]
    item: JsonObject = {"id": id_, "status": status, "content": content}
    if kind == "reasoning_text":
        return {"type": "reasoning", "summary": []} | item
    return {"type": "message", "role": "assistant"} | item


def text_part(kind: Kind, text: str, logprobs: list[JsonObject]) -> JsonObject:
    """Build the one part of a text's item."""
    part: JsonObject = {"type": kind, "text": text}
    return part if kind == "reasoning_text" else part | {"annotations": [], "logprobs": logprobs}


def call_item(id_: str, status: Status, call: ToolCall, arguments: str) -> JsonObject:
    """Build a call of a function, with its arguments as far as they are known."""
    return {
        "type": "function_call",
        "id": id_,
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
    }


def output_items(answer: Generation, logprobs: list[JsonObject]) -> list[JsonObject]:
    """Return the items of a whole answer: reasoning, the text (even if it is empty, unless there are calls), calls."""
    items = []
    if answer.reasoning:
        items.append(text_item("reasoning_text", _new_id("reasoning_text"), "completed", answer.reasoning, []))
    if answer.text or not answer.tool_calls:
        items.append(text_item("output_text", _new_id("output_text"), "completed", answer.text, logprobs))
    items += [call_item(_new_id("call"), "completed", call, call.arguments) for call in answer.tool_calls]
    return [*items[:-1], items[-1] | {"status": end_status(answer)}]


def end_status(answer: Generation) -> Status:
    """Return the status of an answer, and of its last item."""
    return "incomplete" if answer.finish_reason == "length" else "completed"


def _new_id(kind: Kind | Literal["call"]) -> str:
    prefix = {"output_text": "msg", "reasoning_text": "rs", "call": "fc"}[kind]
    return f"{prefix}_{uuid4().hex}"


_NO_LOGPROBS: dict[Kind, JsonObject] = {"output_text": {"logprobs": []}, "reasoning_text": {}}


class OutputStream:
    """Numbers the events of one stream and keeps its items. One text at a time is open and grows."""

    def __init__(self) -> None:
        self.items: list[JsonObject] = []
        self._number = 0
        self._kind: Kind | None = None
        self._id = ""
        self._pieces: list[str] = []

    def event(self, name: str, /, **fields: object) -> bytes:
        """Return the next event."""
        body = {"type": name, "sequence_number": self._number} | fields
        self._number += 1
        return event(body, name)

    def text(self, kind: Kind, piece: str) -> Iterator[bytes]:
        """Yield the events of a piece of text; the first of its kind ends the text before it and begins an item."""
        if self._kind != kind:
            yield from self.close("completed")
            yield from self._begin(kind)
        if piece:
            self._pieces.append(piece)
            yield self._part_event(f"response.{kind}.delta", delta=piece, **_NO_LOGPROBS[kind])

    def call(self, call: ToolCall, status: Status) -> Iterator[bytes]:
        """Yield the events of a whole call."""
        id_ = _new_id("call")
        where = {"item_id": id_, "output_index": len(self.items)}
        yield self._item_event("added", call_item(id_, "in_progress", call, ""))
        name = "response.function_call_arguments"
        if call.arguments:
            yield self.event(f"{name}.delta", **where, delta=call.arguments)
        yield self.event(f"{name}.done", **where, name=call.name, arguments=call.arguments)
        yield from self._end(call_item(id_, status, call, call.arguments))

    def close(self, status: Status) -> Iterator[bytes]:
        """Yield the events that end the open text, if there is one."""
        if self._kind is None:
            return
        kind, text = self._kind, "".join(self._pieces)
        yield self._part_event(f"response.{kind}.done", text=text, **_NO_LOGPROBS[kind])
        yield self._part_event("response.content_part.done", part=text_part(kind, text, []))
        yield from self._end(text_item(kind, self._id, status, text, []))
        self._kind = None

    def _begin(self, kind: Kind) -> Iterator[bytes]:
        self._kind, self._id, self._pieces = kind, _new_id(kind), []
        yield self._item_event("added", text_item(kind, self._id, "in_progress", None, []))
        yield self._part_event("response.content_part.added", part=text_part(kind, "", []))

    def _end(self, item: JsonObject) -> Iterator[bytes]:
        yield self._item_event("done", item)
        self.items.append(item)

    def _item_event(self, step: Literal["added", "done"], item: JsonObject) -> bytes:
        return self.event(f"response.output_item.{step}", output_index=len(self.items), item=item)

    def _part_event(self, name: str, **fields: object) -> bytes:
        return self.event(name, item_id=self._id, output_index=len(self.items), content_index=0, **fields)
