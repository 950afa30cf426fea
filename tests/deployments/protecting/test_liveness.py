"""Who waits for a deployment that is down, and for how long; Serve's status is scripted."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from ray import serve
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, ServeStatus

from serve_app.deployments.protecting.liveness import GoneError, Health, Liveness, look_up
from tests.patience import PATIENCE_S

UP, DOWN = Health(1, "HEALTHY"), Health(0, "UNHEALTHY")


class Status:
    """Serve's status as the test wants it, and how often it was asked for."""

    def __init__(self, **deployments: Health) -> None:
        self.deployments = deployments
        self.looks = 0
        self.broken = False

    def __call__(self) -> dict[str, Health]:
        self.looks += 1
        if self.broken:
            raise RayServeException("The controller is away.")
        return dict(self.deployments)

    async def looked_at(self, times: int) -> None:
        looks = self.looks
        async with asyncio.timeout(PATIENCE_S):
            while self.looks < looks + times:  # noqa: ASYNC110 - the look comes from a thread
                await asyncio.sleep(0.001)


def liveness(status: Status, after_s: float = 0.0) -> Liveness:
    return Liveness(status, after_s, poll_s=0.01)


async def recovered(watched: Liveness) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                async with watched.required("m"):
                    return
            except GoneError:
                await asyncio.sleep(0.001)


async def wait_for(watched: Liveness, name: str = "m") -> None:
    async with watched.required(name):
        await asyncio.Event().wait()


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Assert that no task of ours runs on after the test."""
    yield
    async with asyncio.timeout(PATIENCE_S):
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - there is nobody to ask
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("state", [DOWN, Health(0, "DEPLOY_FAILED")])
async def test_one_that_waits_is_told(state: Health) -> None:
    status = Status(m=UP)
    waiting = asyncio.create_task(wait_for(liveness(status)))
    await status.looked_at(2)
    assert not waiting.done()
    status.deployments["m"] = state
    with pytest.raises(GoneError, match="'m' has had no running replica for more than 0 s"):
        await waiting


@pytest.mark.parametrize(
    "state",
    [
        Health(0, "UPDATING"),
        Health(0, "UPSCALING"),
        Health(0, "HEALTHY"),
        Health(1, "UNHEALTHY"),
        Health(2, "UPDATING"),
    ],
)
async def test_one_that_starts_sleeps_or_has_a_replica_left_is_waited_for(state: Health) -> None:
    status = Status(m=state)
    waiting = asyncio.create_task(wait_for(liveness(status)))
    await status.looked_at(5)
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_within_the_grace_period_nobody_is_told() -> None:
    status = Status(m=DOWN)
    watched = liveness(status, after_s=60)
    waiting = asyncio.create_task(wait_for(watched))
    await status.looked_at(5)
    status.deployments["m"] = UP
    await status.looked_at(2)
    assert not waiting.done()
    waiting.cancel()


async def test_the_grace_period_starts_anew_after_a_recovery() -> None:
    status = Status(m=DOWN)
    watched = liveness(status, after_s=2)
    with pytest.raises(GoneError):
        await wait_for(watched)
    status.deployments["m"] = UP
    await recovered(watched)
    status.deployments["m"] = DOWN
    waiting = asyncio.create_task(wait_for(watched))
    await status.looked_at(2)
    assert not waiting.done()
    with pytest.raises(GoneError):
        await waiting


async def test_those_who_come_later_fail_at_once(nothing_left: None) -> None:
    status = Status(m=DOWN, other=UP)
    watched = liveness(status)
    with pytest.raises(GoneError):
        await wait_for(watched)
    entered = False
    with pytest.raises(GoneError):
        async with watched.required("m"):
            entered = True
    assert not entered
    async with watched.required("other"):
        entered = True
    assert entered
    # While anything is down somebody looks, so that a recovery is noticed although nobody waits.
    await status.looked_at(3)
    status.deployments["m"] = UP
    await recovered(watched)


async def test_many_wait_and_only_those_concerned_are_told() -> None:
    status = Status(m=UP, other=UP)
    watched = liveness(status)
    waiting = [asyncio.create_task(wait_for(watched)) for _ in range(20)]
    bystander = asyncio.create_task(wait_for(watched, "other"))
    await status.looked_at(1)
    status.deployments["m"] = DOWN
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [GoneError] * 20
    assert not bystander.done()
    bystander.cancel()


async def test_nobody_looks_while_nobody_waits(nothing_left: None) -> None:
    status = Status(m=UP)
    watched = liveness(status)
    for _ in range(50):
        async with watched.required("m"):
            await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    assert status.looks == 0


async def test_nobody_looks_while_answers_come(nothing_left: None) -> None:
    status = Status(m=UP)
    watched = Liveness(status, 0.0, poll_s=1.0)
    slow = asyncio.create_task(wait_for(watched))
    for _ in range(30):  # a second and a half, in which one of many calls is always answered
        async with watched.required("m"):
            await asyncio.sleep(0.05)
    assert status.looks == 0
    await status.looked_at(1)
    slow.cancel()


async def test_one_that_is_silent_is_looked_for_though_others_answer() -> None:
    status = Status(m=UP, other=DOWN)
    watched = liveness(status)
    waiting = asyncio.create_task(wait_for(watched, "other"))
    while not waiting.done():
        async with watched.required("m"):
            await asyncio.sleep(0)
    with pytest.raises(GoneError, match="'other'"):
        await waiting


async def test_a_status_that_cannot_be_read_changes_nothing() -> None:
    status = Status(m=UP)
    watched = liveness(status)
    waiting = asyncio.create_task(wait_for(watched))
    status.broken = True
    await status.looked_at(3)
    assert not waiting.done()
    status.broken = False
    status.deployments["m"] = DOWN
    with pytest.raises(GoneError):
        await waiting


async def test_errors_and_time_outs_of_the_body_pass() -> None:
    watched = liveness(Status(m=UP))
    with pytest.raises(TimeoutError):
        async with watched.required("m"):
            raise TimeoutError
    with pytest.raises(KeyError):
        async with watched.required("m"):
            raise KeyError("x")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), watched.required("m"):
            await asyncio.Event().wait()


def test_an_application_without_deployments_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve lists none while it builds a changed application, and after it refused one; what ran before still runs."""
    building = ApplicationStatusOverview(ApplicationStatus.DEPLOY_FAILED, "refused", 0.0, {})
    monkeypatch.setattr(serve, "status", lambda: ServeStatus(applications={"cascade": building}))
    with pytest.raises(KeyError, match="no deployments of 'cascade'"):
        look_up("cascade")
