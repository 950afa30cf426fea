"""Failures of replicas as data, without a cluster."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentResponseGenerator

from serve_app.common.retries import RetryBudget
from serve_app.core.types.answer import Delta, Failure, Generation
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


class Replicas:
    """A deployment handle whose calls go, one after another, to replicas that were lost or that answer."""

    def __init__(self, *ends: Any) -> None:
        self.ends = list(ends)
        self.prompts: list[Prompt] = []
        self.responses: list[Any] = []
        self.streams = False

    def options(self, **options: Any) -> "Replicas":
        handle = copy(self)
        handle.streams = options.get("stream", False)
        return handle

    def remote(self, prompt: Prompt, **_: Any) -> Any:
        self.prompts.append(prompt)
        items = self.ends.pop(0)

        async def work() -> Any:
            if isinstance(items[-1], Exception):
                raise items[-1]
            return items[-1]

        self.responses.append(Stream(items) if self.streams else Response(work))
        return self.responses[-1]


class Stream(DeploymentResponseGenerator):
    """What a replica sends, until it is lost."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = list(items)
        self.cancelled = False

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Any:
        if not self.items:
            raise StopAsyncIteration
        if isinstance(item := self.items.pop(0), Exception):
            raise item
        return item

    def cancel(self) -> None:
        self.cancelled = True


LOST = RayActorError()
PARIS = Generation("Paris", "stop", 10, 2)
HALF = Delta("Par", 10, 1)


def served(*ends: Any, retries: RetryBudget | None) -> tuple[ModelHandle, list[Prompt]]:
    replicas: Any = Replicas(*ends)
    return ModelHandle("a", replicas, Liveness(dict, after_s=10), retries=retries), replicas.prompts


async def ended(model: ModelHandle, prompt: Prompt, stream: bool) -> list[Any]:
    if not stream:
        return [await model.generate(prompt)]
    return [item async for item in model.stream(prompt)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the waiting before a retry."""
    monkeypatch.setattr(handles, "wait_s", lambda *_: 0.0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_of_a_lost_replica_is_made_once_more_with_the_time_that_is_left(stream: bool) -> None:
    model, prompts = served([LOST], [PARIS], retries=RetryBudget())
    assert await ended(model, replace(PROMPT, timeout_s=60.0), stream) == [PARIS]
    first, second = prompts
    assert first.timeout_s == 60.0
    assert second.timeout_s is not None
    assert 50 < second.timeout_s < 60
    assert replace(second, timeout_s=60.0) == first


@pytest.mark.parametrize("stream", [False, True])
async def test_a_replica_that_only_seems_lost_is_told_to_stop(stream: bool) -> None:
    """It may be alive, and go on with a call that another one answers."""
    replicas: Any = Replicas([ActorUnavailableError("no route", None)], [PARIS])
    model = ModelHandle("a", replicas, Liveness(dict, after_s=10), retries=RetryBudget())
    assert await ended(model, PROMPT, stream) == [PARIS]
    assert [response.cancelled for response in replicas.responses] == [True, False]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("ends", "retries", "limit_s"),
    [
        (([LOST], [LOST], [PARIS]), RetryBudget(), 60.0),
        (([LOST], [PARIS]), RetryBudget(reserve=0), 60.0),
        (([LOST], [PARIS]), None, 60.0),
        (([LOST], [PARIS]), RetryBudget(), 0.0),
        (([RayTaskError("f", "", ValueError())], [PARIS]), RetryBudget(), 60.0),
        (([BackPressureError(1, 1)], [PARIS]), RetryBudget(), 60.0),
    ],
    ids=["lost twice", "no budget left", "no other replica", "no time left", "its replica raised", "its queue is full"],
)
async def test_otherwise_its_failure_is_the_answer(
    ends: tuple[list[Any], ...], retries: RetryBudget | None, limit_s: float, stream: bool
) -> None:
    model, prompts = served(*ends, retries=retries)
    [failure] = await ended(model, replace(PROMPT, timeout_s=limit_s), stream)
    assert isinstance(failure, Failure)
    assert len(prompts) == (2 if ends[1] == [LOST] else 1)


async def test_a_stream_that_has_begun_is_not_begun_again() -> None:
    model, prompts = served([HALF, LOST], [PARIS], retries=RetryBudget())
    first, failure = await ended(model, PROMPT, stream=True)
    assert (first, failure.kind, len(prompts)) == (HALF, "unavailable", 1)


async def test_all_calls_of_a_deployment_share_its_budget() -> None:
    budget = RetryBudget(reserve=1, per_call=0, per_s=0)
    model, prompts = served([LOST], [PARIS], [LOST], retries=budget)
    assert [await model.generate(PROMPT), (await model.generate(PROMPT)).kind] == [PARIS, "unavailable"]
    assert len(prompts) == 3
