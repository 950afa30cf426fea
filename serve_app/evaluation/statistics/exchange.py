"""Which points of a front some exchange rate of cost against quality leads to: its lower convex hull."""

from collections.abc import Sequence

import numpy as np

from serve_app.evaluation.statistics.pareto import Setting, pruned


def hull(settings: Sequence[Setting], most: int) -> list[Setting]:
    """Return the settings that minimise cost - w x quality for some w >= 0, cheapest first; an even choice of `most`.

    Andrew's monotone chain (Andrew 1979, Another efficient algorithm for convex hulls in two dimensions) over the
    Pareto front: each next point buys quality at a higher price than the one before. The two ends are always chosen.
    """
    chain: list[Setting] = []
    for setting in pruned(settings):
        while len(chain) > 1 and _buys_no_less(chain[-2], chain[-1], setting):
            chain.pop()
        chain.append(setting)
    indices = np.unique(np.linspace(0, len(chain) - 1, most).round().astype(int))
    return [chain[k] for k in indices]


def _buys_no_less(a: Setting, b: Setting, c: Setting) -> bool:
    """Return whether going from a on to c buys quality no dearer than from a to b, so that b is never the best."""
    return (b.cost - a.cost) * (c.quality - a.quality) >= (c.cost - a.cost) * (b.quality - a.quality)
