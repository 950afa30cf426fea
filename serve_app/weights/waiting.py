"""Waiting for weights that another process fetches, to a volume that this one may not write to."""

import time
from collections.abc import Callable, Sequence

from serve_app.weights.fetch import cached

POLL_S = 5.0

NamedWeights = tuple[str, str | tuple[str, ...], str | None]
"""Name, source or sources, and SHA-256."""


def wait_until_cached(models: Sequence[NamedWeights], say: Callable[[str], None], poll_s: float = POLL_S) -> None:
    """Return when `fetch` would need no network for any of the models.

    Waits indefinitely: the caller decides how long is too long. `say` gets a sentence whenever fewer are missing.
    Raises WeightsError for a source that is malformed.
    """
    last_missing: list[str] = []
    while missing := [name for name, weights, sha256 in models if cached(weights, sha256) is None]:
        if missing != last_missing:
            say(f"Waiting for {', '.join(missing)}.")
            last_missing = missing
        time.sleep(poll_s)
