"""An API behind the door, with a file of keys, in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from serve_app.api.routes import build_api
from serve_app.config import AccessConfig
from serve_app.config.key_file import create_key
from serve_app.deployments.access.access import Access
from serve_app.deployments.access.middleware import AccessMiddleware
from serve_app.deployments.observing.metrics import Metric
from tests.api.serving import FakeService

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": "Hi"}]}


class Recorded:
    """Metrics, as they were recorded: name, value, labels."""

    def __init__(self) -> None:
        self.measures: list[tuple[str, float, tuple[str, ...]]] = []

    def record(self, metric: Metric, value: float, *labels: str) -> None:
        assert len(labels) == len(metric.labels)
        self.measures.append((metric.name, value, labels))


class Door:
    """A server whose keys are made as they are needed."""

    def __init__(self, folder: Path, **access: Any) -> None:
        self.file = folder / "keys.yaml"
        self.secrets = {"ops": create_key(self.file, "ops", admin=True)}
        self.service = FakeService()
        self.metrics = Recorded()
        self.config = AccessConfig(keys_file=self.file, **access)

    def key(self, name: str, **rights: Any) -> dict[str, str]:
        """Create a key, and return the header with it."""
        self.secrets[name] = create_key(self.file, name, **rights)
        return self.of(name)

    def of(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secrets[name]}"}

    def app(self) -> FastAPI:
        return behind(self.service, self.config, self.metrics)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        async with client(self.app()) as http:
            yield http


def behind(service: FakeService, config: AccessConfig, metrics: Any = None) -> FastAPI:
    app = build_api(service)
    app.add_middleware(AccessMiddleware, access=Access(config), instruments=metrics or Recorded())
    return app


@asynccontextmanager
async def client(app: Any, address: str = "http://cascade") -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that reaches the app from an address: another machine's unless it is a loopback address."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=address) as http:
        yield http
