"""Runs in progress that equal requests wait for, in place of runs of their own."""

import asyncio

from serve_app.core.types.outcome import Outcome


class Flight:
    """A run in progress, that of the request that came first."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self._outcome: Outcome | None = None

    async def outcome(self) -> Outcome | None:
        """Wait for the end, and return what the requests that wait get, or None if one of them must run itself."""
        await self._ended.wait()
        return self._outcome

    def end(self, outcome: Outcome | None) -> None:
        """Wake all waiting requests. Only the first end counts."""
        if not self._ended.is_set():
            self._outcome = outcome
            self._ended.set()


class Flights:
    """The runs in progress, one for each key."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, Flight] = {}

    def get(self, key: bytes) -> Flight | None:
        """Return the run in progress, or None."""
        return self._by_key.get(key)

    def begin(self, key: bytes) -> Flight:
        """Note a run that begins now."""
        flight = self._by_key[key] = Flight()
        return flight

    def end(self, key: bytes, flight: Flight, outcome: Outcome | None) -> None:
        """End a run, with None if equal requests cannot have its outcome.

        All waiting requests are woken, and the first of them may `begin` the next run, for which the others then wait.
        """
        if self._by_key.get(key) is flight:
            del self._by_key[key]
        flight.end(outcome)
