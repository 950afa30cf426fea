"""The answers of one cascade that are kept for requests to come."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

from serve_app.common.bounded_store import BoundedStore, StoreLimits
from serve_app.core.types.outcome import Cached, Outcome

ENTRY_BYTES = 500
"""About what an entry takes beside its bytes: its key, its time, and their places in a dictionary."""


class KeptAnswers:
    """Outcomes by key. They are pickled, so that their size is exact, and they hold no memory of others."""

    def __init__(self, limits: StoreLimits, clock: Callable[[], float] = monotonic) -> None:
        self._store: BoundedStore[bytes, bytes] = BoundedStore(limits, clock)

    def put(self, key: bytes, outcome: Outcome) -> None:
        """Keep an outcome, unless it is larger than all may be."""
        data = pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
        self._store.put(key, data, len(data) + ENTRY_BYTES)

    def get(self, key: bytes) -> Outcome | None:
        """Return the outcome, marked with its age, or None if it is not kept (any longer)."""
        data, age_s = self._store.get(key), self._store.age_s(key)
        if data is None or age_s is None:
            return None
        outcome: Outcome = pickle.loads(data)
        return replace(outcome, cached=Cached(age_s))
