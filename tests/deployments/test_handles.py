"""Failures of replicas as data, without a cluster."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serve_app.core.types.answer import Failure
from serve_app.core.types.prompt import Message, Prompt
from serve_app.deployments import handles
from serve_app.deployments.handles import ModelHandle
from serve_app.deployments.protecting.liveness import Liveness

PROMPT = Prompt((Message("user", "Hello"),))


class Response:
    """A call of a replica: what comes of it, and whether it was cancelled."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self.work = work
        self.cancelled = False

    def __await__(self) -> Any:
        return self.work().__await__()

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """A deployment handle that gives one response."""

    def __init__(self, response: Response) -> None:
        self.response = response

    def options(self, **_: Any) -> "Handle":
        return self

    def remote(self, *_: Any, **__: Any) -> Response:
        return self.response


def model(response: Response) -> ModelHandle:
    handle: Any = Handle(response)
    return ModelHandle("a", handle, Liveness(dict, after_s=10))


async def test_work_that_was_cancelled_in_its_replica_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray tells of it by the same exception as of a cancelled task."""
    monkeypatch.setattr(handles, "CANCELLATION_LAG_S", 0.01)

    async def work() -> None:
        raise asyncio.CancelledError

    answer = await model(Response(work)).generate(PROMPT)
    assert isinstance(answer, Failure)
    assert (answer.kind, answer.uncounted) == ("unavailable", True)


async def test_a_call_cancelled_before_its_request_is_no_failure() -> None:
    """Ray cancels the calls of a client that left before the request that made them."""

    async def work() -> None:
        raise asyncio.CancelledError

    task = asyncio.create_task(model(Response(work)).generate(PROMPT))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelling_reaches_the_replica() -> None:
    response = Response(asyncio.Event().wait)
    task = asyncio.create_task(model(response).generate(PROMPT))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert response.cancelled
