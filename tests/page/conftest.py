from collections.abc import Iterator

import pytest

from .browser import Browser
from .serving import Served, serving


@pytest.fixture(scope="session")
def one_server() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture
def served(one_server: Served) -> Iterator[Served]:
    """Yield the server, without faults left by an earlier test."""
    yield one_server
    one_server.troubled.trouble = None
    for player in one_server.players.values():
        player.pause_s = 0.0
        player.paused = False


@pytest.fixture
def browser(one_browser: Browser, served: Served) -> Iterator[Browser]:
    """Yield the browser at the page. Fails on anything that the policy refused or that a script threw."""
    one_browser.complaints()
    one_browser.open(served.url)
    one_browser.find(".example")
    yield one_browser
    expected = "Failed to load resource"  # a status that a test asked for
    assert [line for line in one_browser.complaints() if expected not in line] == []
