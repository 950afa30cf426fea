"""The most similar past requests, and what they say of new ones: the same online and offline."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve_app.core.deciding.skip import SkipPolicy, check, deferred
from serve_app.core.types.outcome import Precheck
from serve_app.skipping.fitted import Fitted

Floats32 = npt.NDArray[np.float32]

ROWS = 32
"""Requests that are compared with all past ones at once: 32 of them with 100,000 past ones take 25 MB."""
DECIMALS = 5
"""Resolution of cosines: what float16 and the order of sums leave of them, so that equal prompts tie everywhere."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The past requests that are nearest to a new one: their cosines, and which they are."""

    similarities: Sequence[float]
    indices: Sequence[int]


class Lookup:
    """Past requests in memory. The search is exact: each new request is compared with all of them."""

    def __init__(self, fitted: Fitted) -> None:
        self._scores = fitted.scores.tolist()
        self._vectors = np.ascontiguousarray(fitted.embeddings.astype(np.float32).T)
        self._flags: tuple[tuple[float, ...], list[bool]] | None = None

    def __len__(self) -> int:
        return len(self._scores)

    def flags(self, thresholds: Sequence[float]) -> list[bool]:
        """Return which past requests these thresholds defer to the target."""
        latest = self._flags  # another thread may replace them
        if latest is None or latest[0] != tuple(thresholds):
            latest = self._flags = tuple(thresholds), [deferred(scores, thresholds) for scores in self._scores]
        return latest[1]

    def nearest(self, vectors: Floats32, k: int, own: npt.NDArray[np.intp] | None = None) -> list[Neighbours]:
        """Return the k nearest past requests of each of m new ones, shape (m, d).

        `own`, (m,): new requests that are past ones themselves, by their index; they are not their own neighbours.
        """
        nearest = []
        for start in range(0, len(vectors), ROWS):
            part = slice(start, start + ROWS)
            # As float64, since a cosine of .7 in float32 would be less than a limit of .7.
            cosines = np.round((vectors[part] @ self._vectors).astype(np.float64), DECIMALS)
            if own is not None:
                cosines[np.arange(len(cosines)), own[part]] = -np.inf
            for row in cosines:
                indices = _largest(row, k)
                nearest.append(Neighbours(row[indices].tolist(), indices))
        return nearest

    def check(self, policy: SkipPolicy, neighbours: Neighbours, thresholds: Sequence[float]) -> Precheck:
        """Return what a request's `policy.k` nearest past requests say under these thresholds."""
        flags = self.flags(thresholds)
        return check(policy, neighbours.similarities, [flags[index] for index in neighbours.indices])


def _largest(values: npt.NDArray[np.float64], k: int) -> list[int]:
    """Return the indices of the k largest values, the first of equals, in any order."""
    if len(values) <= k:
        return list(range(len(values)))
    least = np.partition(values, len(values) - k)[len(values) - k]
    above = np.flatnonzero(values > least)
    equal = np.flatnonzero(values == least)[: k - len(above)]
    return [*above.tolist(), *equal.tolist()]
