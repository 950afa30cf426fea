"""A stub of the API server, and a user with a kubeconfig for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.cluster.live import client, delete, wait
from serve_app.cluster.live.client import Cluster
from serve_app.cluster.live.kubeconfig import connect
from tests.cluster.api_stub import ApiStub, running
from tests.cluster.kubectl import User


@pytest.fixture
def stub() -> Iterator[ApiStub]:
    with running() as stub:
        yield stub


@pytest.fixture
def user(stub: ApiStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    """Return a user whose commands make short pauses."""
    monkeypatch.setattr(client, "PAUSES_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr(delete, "POLL_S", 0.05)
    monkeypatch.setattr(wait, "SHORTEST_POLL_S", 0.05)
    return User(stub, tmp_path)


@pytest.fixture
def cluster(user: User) -> Cluster:
    """Return a connection to the stub."""
    return connect(user.kubeconfig)
