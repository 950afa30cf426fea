"""Weight sources: a URI in a config, or a list of them -> a verified local file or folder.

    parse_origins(weights, sha256)  the syntax, without side effects
    fetch(weights, sha256)          the local path; downloads once a node, checks the SHA-256
    cached(weights, sha256)         what `fetch` would return without a network, or None
    wait_until_cached               until another process has fetched
    unpinned(weights, sha256)       the sources that can change under the same name
    check_trust(folder, trust)      refuses what could run code while it is loaded

sources.py reads URIs, origin.py lists of them, cache.py stores files, pypi.py and hub.py download, local.py checks,
archive.py unpacks, progress.py reports, trust.py looks for code,
pins.py for what can change. The code inside a package that carries weights is
never imported.
"""

from serve_app.weights.cache import cache_home
from serve_app.weights.fetch import cached, fetch
from serve_app.weights.origin import Origin, parse_origins
from serve_app.weights.pins import pinned, unpinned
from serve_app.weights.progress import ProgressReporter, ProgressTask, RichProgress, SilentProgress
from serve_app.weights.setting import WeightsSetting
from serve_app.weights.sources import (
    HubSource,
    LocalSource,
    PypiSource,
    Source,
    WheelMember,
    parse_source,
)
from serve_app.weights.trust import WeightsTrust, check_trust
from serve_app.weights.waiting import NamedWeights, wait_until_cached

__all__ = [
    "HubSource",
    "LocalSource",
    "NamedWeights",
    "Origin",
    "ProgressReporter",
    "ProgressTask",
    "PypiSource",
    "RichProgress",
    "SilentProgress",
    "Source",
    "WeightsSetting",
    "WeightsTrust",
    "WheelMember",
    "cache_home",
    "cached",
    "check_trust",
    "fetch",
    "parse_origins",
    "parse_source",
    "pinned",
    "unpinned",
    "wait_until_cached",
]
