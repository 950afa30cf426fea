"""Waiting for weights that another process fetches, to a volume that this one may not write to."""

import time
from collections.abc import Callable, Sequence

from serve_app.weights.fetch import cached

POLL_S = 5.0


def wait_until_cached(
    sources: Sequence[tuple[str, str, str | None]], say: Callable[[str], None], poll_s: float = POLL_S
) -> None:
    """Return when `fetch` would need no network for any of them; `sources` are names, URIs and checksums.

    Waits without end: whoever started this process knows how long is too long. `say` gets a sentence whenever less is
    missing. Raises `WeightsError` for a URI that is malformed.
    """
    missing = [name for name, uri, sha256 in sources if cached(uri, sha256) is None]
    said: list[str] = []
    while missing:
        if missing != said:
            say(f"Waiting for {', '.join(missing)}.")
            said = missing
        time.sleep(poll_s)
        missing = [name for name, uri, sha256 in sources if cached(uri, sha256) is None]
