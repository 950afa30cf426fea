"""What past requests were embedded and decided by: the file of them is of use as long as a config says the same."""

from collections.abc import Iterator
from typing import Any

from serve_app.config import AppConfig, operational_options

WAITING = {"threshold", "timeout_s", "early", "quorum", "tier_timeout_s"}
"""Options of a tier that change no agreement of answers that are all there."""


def identity(config: AppConfig, cascade: str) -> dict[str, Any]:
    """Return JSON values of all that decides the embeddings and the agreements of a cascade with `skip`.

    Options that have their defaults are left out, so that a file outlives new options.
    """
    skip, tiers = config.cascades[cascade].skip, config.cascades[cascade].tiers
    assert skip is not None
    signals = config.all_signals()
    used = {name for tier in tiers[:-1] if tier.signal for name in signals.uses(tier.signal)}
    return {
        "encoder": _decisive(config, skip.encoder),
        "tiers": [tier.model_dump(mode="json", exclude=WAITING, exclude_defaults=True) for tier in tiers],
        "signals": {name: _decisive(config, name) for name in sorted(used)},
    }


def _decisive(config: AppConfig, name: str) -> dict[str, Any]:
    signal = config.all_signals()[name]
    options = signal.model_dump(mode="json", exclude=operational_options(type(signal)), exclude_defaults=True)
    return {"kind": signal.kind} | options


def differences(now: Any, before: Any, path: str = "") -> Iterator[str]:
    """Yield a phrase for each value that differs between two JSON values, such as "tiers[0].signal was 'exact'"."""
    if isinstance(now, dict) and isinstance(before, dict):
        for name in dict.fromkeys([*now, *before]):
            yield from differences(now.get(name), before.get(name), f"{path}.{name}" if path else name)
    elif isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        for number, (value, other) in enumerate(zip(now, before, strict=True)):
            yield from differences(value, other, f"{path}[{number}]")
    elif now != before:
        yield f"{path} was {before!r} and is {now!r}"
