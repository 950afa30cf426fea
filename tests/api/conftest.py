import asyncio
import gc
from collections.abc import AsyncIterator

import httpx
import openai
import pytest

from serve_app.api.routes import build_api
from tests.patience import PATIENCE_S

from .serving import FakeService, listening, until


@pytest.fixture(autouse=True)
async def quiet() -> AsyncIterator[None]:
    """Fail on tasks left running, and on what asyncio only logs ('Task exception was never retrieved')."""
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    yield
    gc.collect(1)  # the young ones are enough, and much quicker
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    assert not complaints


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
async def http(service: FakeService, quiet: None) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the application in this process."""
    transport = httpx.ASGITransport(build_api(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cascade") as client:
        yield client


@pytest.fixture
async def url(service: FakeService, quiet: None) -> AsyncIterator[str]:
    async with listening(service) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """Yield the official client of a real server."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=PATIENCE_S) as client:
        yield client
