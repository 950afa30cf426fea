"""A cascade's exchange rate on recorded examples: what quality costs in US dollars, threshold by threshold."""

from collections.abc import Sequence

from serve_app.core.deciding.exchange import ExchangePoint
from serve_app.evaluation.analysis.candidates import Candidate
from serve_app.evaluation.analysis.cascade_view import CascadeView, recorded
from serve_app.evaluation.analysis.dataset import writable
from serve_app.evaluation.statistics.curves import Integers
from serve_app.evaluation.statistics.exchange import hull
from serve_app.evaluation.statistics.pareto import front_of
from serve_app.evaluation.statistics.thresholds import RESOLUTION

MOST = 64
"""Points of an exchange rate: as many as a config should hold."""


def exchange_points(view: CascadeView, candidates: Sequence[Candidate], part: Integers) -> list[ExchangePoint]:
    """Return the thresholds worth having at some price of quality, on some of the examples, cheapest first.

    Empty if a price in US dollars is unknown, or the examples have no references.
    """
    costs = view.tier_costs([candidate.tier for candidate in candidates]).get("usd")
    if costs is None or not view.group.metrics:
        return []
    tiers, target = recorded(view, candidates, costs)
    settings = front_of([tier.take(part) for tier in tiers], target.take(part), resolution=RESOLUTION)
    return [
        ExchangePoint(tuple(map(writable, setting.thresholds)), setting.cost, setting.quality)
        for setting in hull(settings, MOST)
    ]
