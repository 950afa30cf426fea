"""The headings of a report's parts, and a sentence about each."""

import hashlib
import re
from collections.abc import Iterator

from serve_app.evaluation.evaluate.results import CascadeResult, Evaluation, GroupResult


def pairs(evaluation: Evaluation) -> Iterator[tuple[GroupResult, CascadeResult]]:
    """Yield every cascade with the group of examples that it was evaluated on."""
    return ((group, cascade) for group in evaluation.groups for cascade in group.cascades)


def title(group: GroupResult, cascade: CascadeResult) -> str:
    """Return the heading of a cascade on a group."""
    return f"{group.name}: {cascade.id}"


def _tiers(cascade: CascadeResult) -> str:
    return " -> ".join(" + ".join(tier) for tier in cascade.tiers)


def about(group: GroupResult, cascade: CascadeResult) -> str:
    """Return a sentence on what was evaluated."""
    return f"{_tiers(cascade)}. {cascade.metric} on {group.test} examples; {group.fit} others to fit on."


def image_name(group: GroupResult, cascade: CascadeResult) -> str:
    """Return the name of the PNG of the curves."""
    name = f"curves-{group.name}-{cascade.id}"
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    # Other names may be the same in plain letters.
    return f"{plain}.png" if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}.png"
