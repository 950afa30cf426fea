from collections.abc import AsyncIterator

import anthropic
import pytest

from tests.patience import PATIENCE_S


@pytest.fixture
async def claude(url: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Yield the official client of a real server."""
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0, timeout=PATIENCE_S) as client:
        yield client
