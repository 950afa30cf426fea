"""What past requests were embedded and decided by: the file of them is of use as long as a config says the same."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from serve_app.config import AppConfig, operational_options
from serve_app.core.sampling import base_name

WAITING = {"threshold", "timeout_s", "early", "quorum", "tier_timeout_s"}
"""Options of a tier that change no agreement of answers that are all there."""


def identity(config: AppConfig, cascade: str) -> dict[str, Any]:
    """Return JSON values of all that decides the embeddings, answers and agreements of a cascade with `skip`.

    The models are its members, and the bases of those that are adapters.

    Options that have their defaults are left out, so that a file outlives new options.
    """
    skip, tiers = config.cascades[cascade].skip, config.cascades[cascade].tiers
    assert skip is not None
    signals = config.all_signals()
    names = {name for tier in tiers[:-1] if tier.signal for name in signals.uses(tier.signal)}
    members = {name for tier in tiers[:-1] for name in tier.models}
    answering = {base_name(name) for name in members} | {config.served_by(name) for name in members}
    return {
        "encoder": {"kind": signals[skip.encoder].kind} | _decisive(signals[skip.encoder]),
        "tiers": [tier.model_dump(mode="json", exclude=WAITING, exclude_defaults=True) for tier in tiers],
        "models": {
            name: {"engine": config.models[name].engine} | _decisive(config.models[name]) for name in sorted(answering)
        },
        "signals": {name: {"kind": signals[name].kind} | _decisive(signals[name]) for name in sorted(names)},
    }


def _decisive(options: BaseModel) -> dict[str, Any]:
    """Return the options of a model or signal that can change its answers or scores."""
    return options.model_dump(mode="json", exclude=operational_options(type(options)), exclude_defaults=True)


def differences(now: Any, before: Any, path: str = "") -> Iterator[str]:
    """Yield a phrase for each value that differs between two JSON values, such as "tiers[0].signal was 'exact'"."""
    if isinstance(now, dict) and isinstance(before, dict):
        for name in dict.fromkeys([*now, *before]):
            yield from differences(now.get(name), before.get(name), f"{path}.{name}" if path else name)
    elif isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        for number, (value, old_value) in enumerate(zip(now, before, strict=True)):
            yield from differences(value, old_value, f"{path}[{number}]")
    elif now != before:
        yield f"{path} was {before!r} and is {now!r}"
