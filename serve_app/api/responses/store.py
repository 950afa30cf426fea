"""Responses that are kept for a while in this process, so that a later request can go on from them."""

import sys
from dataclasses import dataclass
from typing import TypeAlias

from serve_app.core.bounded_store import BoundedStore
from serve_app.core.types.prompt import Message

MESSAGE_BYTES = 300
"""About what a message and its tuples take beside their texts."""


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response as JSON, and its conversation up to its answer, without instructions."""

    body: bytes
    conversation: tuple[Message, ...]

    @property
    def size(self) -> int:
        """Return about how many bytes of memory it takes if it shares none of its messages with another."""
        return len(self.body) + sum(map(_size, self.conversation))


ResponseStore: TypeAlias = BoundedStore[tuple[str | None, str], KeptResponse]
"""Responses by the names of the keys that made them, and their ids."""


def _size(message: Message) -> int:
    texts = [message.content, *(text for call in message.tool_calls for text in (call.name, call.arguments))]
    return MESSAGE_BYTES + sum(map(sys.getsizeof, texts))
