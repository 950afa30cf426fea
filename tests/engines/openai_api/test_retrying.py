"""Requests are tried again within their own time, and within a budget for all of them."""

import httpx
import openai
import pytest

from serve_app.common.retries import RetryBudget
from serve_app.core.types.prompt import Prompt
from serve_app.engines.openai_api import engine as module
from serve_app.engines.openai_api.errors import retry_after_s
from serve_app.engines.openai_api.retrying import Retries
from tests.engines.asking import QUESTION, ask, chat, failure
from tests.engines.conftest import Load
from tests.engines.endpoint import Endpoint
from tests.engines.replies import ANSWER, refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a first retry follow at once, unless the endpoint puts it off."""
    monkeypatch.setattr("serve_app.engines.openai_api.retrying.random.random", lambda: 0.0)


def within(limit_s: float | None) -> Prompt:
    prompt = chat(QUESTION)
    return Prompt(prompt.messages, sampling=prompt.sampling, timeout_s=limit_s)


async def test_a_wait_beyond_the_requests_time_is_not_begun(endpoint: Endpoint, load: Load) -> None:
    endpoint.script += [refusal(429, None, **{"retry-after": "30"})]
    message, _ = await failure(await load(max_retries=2), within(20.0))
    assert "429" in message
    assert len(endpoint.requests) == 1


async def test_nor_one_of_more_than_two_minutes(endpoint: Endpoint, load: Load) -> None:
    endpoint.script += [refusal(503, None, **{"retry-after": "121"})]
    await failure(await load(max_retries=2), within(None))
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
async def test_the_wait_that_an_endpoint_names(headers: dict[str, str], seconds: float | None) -> None:
    request = httpx.Request("POST", "http://big")
    error = openai.RateLimitError("Busy.", response=httpx.Response(429, headers=headers, request=request), body=None)
    assert retry_after_s(error) == seconds


async def test_an_endpoint_may_say_whether_another_try_is_of_use(endpoint: Endpoint, load: Load) -> None:
    endpoint.script += [refusal(500, None, **{"x-should-retry": "false"})]
    await failure(await load(max_retries=2))
    assert len(endpoint.requests) == 1
    endpoint.script += [refusal(400, None, **{"x-should-retry": "true"}), ANSWER]
    assert (await ask(await load(max_retries=2))).text == "Paris"


async def test_an_endpoint_that_is_down_is_not_asked_three_times_by_every_request(
    endpoint: Endpoint, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reserve of 3, and one more for every ten of the 20 requests: 25 tries instead of 60."""
    budget = RetryBudget(reserve=3, per_call=0.1, per_s=0)
    monkeypatch.setattr(module, "Retries", lambda most: Retries(most, budget))
    engine = await load(max_retries=2)
    endpoint.script += [refusal(500) for _ in range(60)]
    for _ in range(20):
        await failure(engine)
    assert len(endpoint.requests) in (24, 25)
    endpoint.script.clear()


async def test_what_is_no_trouble_of_the_endpoint_takes_no_retry(endpoint: Endpoint, load: Load) -> None:
    endpoint.script += [refusal(400)]
    await failure(await load(max_retries=2))
    assert len(endpoint.requests) == 1
