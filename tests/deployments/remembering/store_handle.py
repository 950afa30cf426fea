"""A handle of a `StateStore` in this process, over which values are copied as between processes, and which can fail."""

import asyncio
import pickle
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any

from serve_app.common.bounded_store import StoreLimits
from serve_app.deployments.remembering.state_store import StateStore

LIMITS = StoreLimits(entries=100, bytes=100_000, ttl_s=60)


class StoreHandle:
    """Its deployment raises `error`, or never answers while it `hangs`, or in the `hanging` methods.

    What the `late` methods do is done, and never answered. `calls` are the methods that were called.
    """

    def __init__(
        self, limits: StoreLimits = LIMITS, max_sessions: int = 100, clock: Callable[[], float] = monotonic
    ) -> None:
        self.store = StateStore(limits, max_sessions, clock)
        self.error: Exception | None = None
        self.hangs = False
        self.hanging: set[str] = set()
        self.late: set[str] = set()
        self.calls: list[str] = []
        self.cancelled = 0

    def options(self, method_name: str) -> "_Method":
        return _Method(self, method_name)


class _Method:
    def __init__(self, handle: StoreHandle, name: str) -> None:
        self._handle = handle
        self._name = name

    def remote(self, *arguments: Any) -> "_Response":
        self._handle.calls.append(self._name)
        return _Response(self._handle, self._name, pickle.dumps(arguments))


class _Response:
    def __init__(self, handle: StoreHandle, name: str, arguments: bytes) -> None:
        self._handle = handle
        self._name = name
        self._arguments = arguments

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._result().__await__()

    async def _result(self) -> Any:
        if self._handle.hangs or self._name in self._handle.hanging:
            await asyncio.Event().wait()
        if self._handle.error is not None:
            raise self._handle.error
        result = await getattr(self._handle.store, self._name)(*pickle.loads(self._arguments))
        if self._name in self._handle.late:
            await asyncio.Event().wait()
        return pickle.loads(pickle.dumps(result))

    def cancel(self) -> None:
        self._handle.cancelled += 1
