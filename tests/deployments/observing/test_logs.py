"""Logs that cannot be written, where standard error goes to the same log, as Ray Serve has it."""

import io
import logging
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

import pytest

from serve_app.config import ScorerConfig
from serve_app.deployments.observing.logs import drop_unwritable_lines
from serve_app.deployments.protecting.proxy_errors import middlewares
from serve_app.deployments.scorer_server import ScorerServer
from tests.deployments.test_router import routed


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class ToLog(io.StringIO):
    """Standard error as Ray Serve leads it into a log, line by line; here for a few rounds only."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger, self.rounds = logger, 0

    def write(self, text: str) -> int:
        self.rounds += 1
        if self.rounds < 100:
            self._logger.info(text)
        return len(text)


def rounds_of_a_line() -> int:
    """Return how many lines go to standard error after one that does not fit, up to a hundred."""
    logger = logging.Logger("full disk", logging.INFO)
    logger.addHandler(logging.StreamHandler(FullDisk()))
    stderr = ToLog(logger)
    with redirect_stderr(stderr):
        logger.info("a line")
    return stderr.rounds


def test_a_line_that_does_not_fit_makes_no_more_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    assert rounds_of_a_line() >= 100  # what Python does by itself
    drop_unwritable_lines()
    assert rounds_of_a_line() == 0


@pytest.mark.parametrize("start", [routed, lambda: ScorerServer({}, ScorerConfig()), middlewares])
def test_routers_scorers_and_proxies_drop_them(monkeypatch: pytest.MonkeyPatch, start: Callable[[], Any]) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    start()
    assert not logging.raiseExceptions
