"""The `StateStore` behind the protocols of the stores: a failure never fails a request that does not need the store."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from serve_app.api.responses.store import KeptResponse, LocalResponses, ResponseKey, ResponseStore
from serve_app.config import AppConfig
from serve_app.config.services import STATE_STORE, CircuitBreakerConfig
from serve_app.deployments.handles import replica_result
from serve_app.deployments.protecting.circuit_breaker import CircuitBreaker
from serve_app.deployments.remembering.sessions import LocalSessions, Session, SessionStore
from serve_app.errors import StateError

logger = logging.getLogger("ray.serve")

UNREACHABLE = "The store of responses and sessions cannot be reached for the moment; try again."

BACKGROUND_S = 60.0
"""How long a call in the background may take: far longer than any request waits, since a busy store will get to it."""

Method: TypeAlias = Literal[
    "put_response",
    "get_response",
    "get_body",
    "delete_response",
    "is_deferred",
    "remember",
    "exchange_counts",
    "exchange_figures",
]


class StateHandle:
    """Calls the store's one replica, for at most `timeout_s` seconds, and not at all while `breaker` leaves it out."""

    def __init__(self, store: DeploymentHandle[Any], timeout_s: float, breaker: CircuitBreaker) -> None:
        self._methods = {name: store.options(method_name=name) for name in get_args(Method)}
        self._timeout_s = timeout_s
        self._breaker = breaker
        self._background: set[asyncio.Task[None]] = set()

    @property
    def left_out(self) -> bool:
        """Return whether `call` would raise at once."""
        return self._breaker.left_s is not None

    async def call(self, method: Method, *arguments: object) -> Any:
        """Return what the store returns. Raises `StateError` if it does not answer in time."""
        if self.left_out:
            raise StateError(UNREACHABLE)
        with self._breaker.trial() as trial:
            try:
                async with asyncio.timeout(self._timeout_s):
                    result = await replica_result(self._methods[method].remote(*arguments))
            except (TimeoutError, RayError, RayServeException) as error:
                trial.works = False
                if not self._breaker.failures:
                    # Its kind alone: a traceback of the replica is in the replica's log.
                    logger.warning("The StateStore does not answer: %s", type(error).__name__)
                raise StateError(UNREACHABLE) from None
            trial.works = True
            return result

    def call_in_background(self, method: Method, *arguments: object) -> None:
        """Call the store in the background, even if it is left out. A failure is not reported."""
        task = asyncio.create_task(self._called(method, *arguments))
        self._background.add(task)  # the loop alone would not keep it
        task.add_done_callback(self._background.discard)

    async def _called(self, method: Method, *arguments: object) -> None:
        with suppress(TimeoutError, RayError, RayServeException):
            async with asyncio.timeout(BACKGROUND_S):
                await replica_result(self._methods[method].remote(*arguments))


@dataclass(frozen=True, slots=True)
class SharedResponses:
    """A `ResponseStore` that all router replicas share."""

    state: StateHandle

    async def put(self, key: ResponseKey, response: KeptResponse) -> bool:
        if self.state.left_out:
            return False
        try:
            return bool(await self.state.call("put_response", key, response))
        except StateError:
            # The store may have begun before the time was over, and its client is told that nothing is kept.
            self.state.call_in_background("delete_response", key)
            return False

    async def get(self, key: ResponseKey) -> KeptResponse | None:
        response: KeptResponse | None = await self.state.call("get_response", key)
        return response

    async def body(self, key: ResponseKey) -> bytes | None:
        body: bytes | None = await self.state.call("get_body", key)
        return body

    async def delete(self, key: ResponseKey) -> bool:
        return bool(await self.state.call("delete_response", key))


@dataclass(frozen=True, slots=True)
class SharedSessions:
    """A `SessionStore` that all router replicas share. While it is away, no session counts as deferred."""

    state: StateHandle

    async def is_deferred(self, session: Session, ttl_s: float) -> bool:
        try:
            return bool(await self.state.call("is_deferred", session, ttl_s))
        except StateError:
            return False

    async def remember(self, session: Session, ttl_s: float) -> None:
        with suppress(StateError):
            await self.state.call("remember", session, ttl_s)


def background_handle(config: AppConfig, store: DeploymentHandle[Any]) -> StateHandle:
    """Return a handle for calls that no request waits for: the store is never left out."""
    return StateHandle(store, config.state_store.timeout_s, CircuitBreaker(CircuitBreakerConfig(failures=None)))


def stores(
    config: AppConfig, shared: DeploymentHandle[Any] | None, breakers: Mapping[str, CircuitBreaker]
) -> tuple[ResponseStore | None, SessionStore]:
    """Return where a router keeps responses (None: nowhere) and sessions: in its process, unless a `StateStore` is."""
    limits = config.router.responses.limits()
    if shared is None:
        return LocalResponses(limits) if limits.entries else None, LocalSessions(config.router.max_sessions)
    breaker, timeout_s = breakers[STATE_STORE], config.state_store.timeout_s
    # Sessions have a breaker of their own: huge conversations of one client may be too slow for every time limit.
    sessions = SharedSessions(StateHandle(shared, timeout_s, breaker.closed_copy()))
    return SharedResponses(StateHandle(shared, timeout_s, breaker)) if limits.entries else None, sessions
