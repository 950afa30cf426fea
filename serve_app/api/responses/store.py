"""Responses that are kept for a while, so that a later request can go on from them."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol, TypeAlias

from serve_app.common.bounded_store import BoundedStore, StoreLimits
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


ResponseKey: TypeAlias = tuple[str | None, str]
"""The name of the API key that made a response, and the response's id."""


class ResponseStore(Protocol):
    """Kept responses, in this process or in one that several share; a method may raise `StateError` if that is away."""

    async def put(self, key: ResponseKey, response: KeptResponse) -> bool:
        """Keep a response. Return False, never raise, if it could not be kept."""
        ...

    async def get(self, key: ResponseKey) -> KeptResponse | None:
        """Return a response, or None if it is not kept (any longer)."""
        ...

    async def body(self, key: ResponseKey) -> bytes | None:
        """Return a response's JSON alone, since its conversation may be large; None if it is not kept (any longer)."""
        ...

    async def delete(self, key: ResponseKey) -> bool:
        """Forget a response, and return whether it was kept."""
        ...


class LocalResponses:
    """A `ResponseStore` in this process. `clock` returns seconds."""

    def __init__(self, limits: StoreLimits, clock: Callable[[], float] = monotonic) -> None:
        self._store: BoundedStore[ResponseKey, KeptResponse] = BoundedStore(limits, clock)

    async def put(self, key: ResponseKey, response: KeptResponse) -> bool:
        return self._store.put(key, response, response.size)

    async def get(self, key: ResponseKey) -> KeptResponse | None:
        return self._store.get(key)

    async def body(self, key: ResponseKey) -> bytes | None:
        response = self._store.get(key)
        return None if response is None else response.body

    async def delete(self, key: ResponseKey) -> bool:
        return self._store.delete(key)


def _size(message: Message) -> int:
    texts = [message.content, *(text for call in message.tool_calls for text in (call.name, call.arguments))]
    return MESSAGE_BYTES + sum(map(sys.getsizeof, texts))
