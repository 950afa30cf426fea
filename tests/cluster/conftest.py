"""A stub of the API server, and a user with a kubeconfig for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.api_stub import ApiStub, running
from tests.cluster.kubectl import User


@pytest.fixture
def stub() -> Iterator[ApiStub]:
    with running() as stub:
        yield stub


@pytest.fixture
def user(stub: ApiStub, tmp_path: Path) -> User:
    return User(stub, tmp_path)
