"""Responses that are kept for a while in this process, so that a later request can go on from them."""

import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from serve_app.core.types import Message

MESSAGE_BYTES = 300
"""About what a message and its tuples take beside their texts."""


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """How many responses are kept, how many bytes in all, and for how many seconds; no entries: none is kept."""

    entries: int
    bytes: int
    ttl_s: float


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response as JSON, and its conversation up to its answer, without instructions."""

    body: bytes
    conversation: tuple[Message, ...]

    @property
    def size(self) -> int:
        """Return about how many bytes of memory it takes if it shares none of its messages with another."""
        return len(self.body) + sum(map(_size, self.conversation))


class ResponseStore:
    """Keeps the newest responses within its limits. `clock` returns seconds."""

    def __init__(self, limits: StoreLimits, clock: Callable[[], float] = monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._bytes = 0
        # By age, since all live equally long. A size is measured once.
        self._entries: OrderedDict[str, tuple[float, int, KeptResponse]] = OrderedDict()

    def put(self, id_: str, response: KeptResponse) -> bool:
        """Keep a response and drop the oldest beyond the limits; return False if it is larger than all of them."""
        size = response.size
        if size > self.limits.bytes or not self.limits.entries:
            return False
        self._entries[id_] = (self._clock() + self.limits.ttl_s, size, response)
        self._bytes += size
        while len(self._entries) > self.limits.entries or self._bytes > self.limits.bytes:
            self._drop_oldest()
        self._drop_expired()
        return True

    def get(self, id_: str) -> KeptResponse | None:
        """Return a response, or None if it is unknown or no longer kept."""
        self._drop_expired()
        entry = self._entries.get(id_)
        return None if entry is None else entry[2]

    def delete(self, id_: str) -> bool:
        """Forget a response, and return whether it was kept."""
        self._drop_expired()
        entry = self._entries.pop(id_, None)
        if entry is None:
            return False
        self._bytes -= entry[1]
        return True

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._entries and next(iter(self._entries.values()))[0] <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (_, size, _) = self._entries.popitem(last=False)
        self._bytes -= size


def _size(message: Message) -> int:
    texts = [message.content, *(text for call in message.tool_calls for text in (call.name, call.arguments))]
    return MESSAGE_BYTES + sum(map(sys.getsizeof, texts))
