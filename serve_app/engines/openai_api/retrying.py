"""Which failures of an endpoint are tried again, and when: before any part of an answer has come."""

import random
from time import monotonic

from serve_app.common.retries import RetryBudget, wait_s
from serve_app.engines.openai_api.errors import retry_after_s

TRANSIENT = (408, 409, 429)
"""HTTP statuses, beside those from 500 on, that may be another one next time; the official client's choice."""


class Retries:
    """The retries of one endpoint: up to `most` for a request, and for all requests together within a budget."""

    def __init__(self, most: int, budget: RetryBudget | None = None) -> None:
        self._most = most
        self._budget = budget or RetryBudget()

    def begin(self, limit_s: float | None) -> "Tries":
        """Count a request, which may take `limit_s` seconds."""
        self._budget.called()
        return Tries(self._most, self._budget, limit_s)


class Tries:
    """The tries of one request, from now on."""

    def __init__(self, most: int, budget: RetryBudget, limit_s: float | None) -> None:
        self._most = most
        self._budget = budget
        self._ends = None if limit_s is None else monotonic() + limit_s
        self._retries = 0

    def wait_s(self, error: Exception) -> float | None:
        """Return the seconds until the request is retried after this error of the client, or None if it is not.

        A try that could begin only after the request's time is over is not made, and takes nothing from the budget.
        """
        if self._retries >= self._most or not _transient(error):
            return None
        wait = wait_s(self._retries, random.random(), retry_after_s(error))
        if wait is None or (self._ends is not None and monotonic() + wait >= self._ends) or not self._budget.take():
            return None
        self._retries += 1
        return wait


def _transient(error: Exception) -> bool:
    """Return whether another try may succeed; the endpoint's `x-should-retry` decides if it is sent."""
    import openai

    if not isinstance(error, openai.APIStatusError):
        return isinstance(error, openai.APIConnectionError)
    advice = error.response.headers.get("x-should-retry")
    if advice in ("true", "false"):
        return bool(advice == "true")
    return error.status_code in TRANSIENT or error.status_code >= 500
