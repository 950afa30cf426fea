"""How much of the gap between a weak and a strong model is closed: APGR and CPT of RouteLLM.

Ong et al. 2024, "RouteLLM: Learning to Route LLMs with Preference Data", section 3.2. The share of calls to the strong
model is the deferral rate; between thresholds a curve is a straight line, which a mix of the two thresholds reaches.
"""

from math import nan

import numpy as np

from serve_app.evaluation.statistics.curves import Curve


def average_gap_recovered(area: float, weak: float, strong: float) -> float:
    """Return the average performance gap recovered (APGR): the mean over all deferral rates of (Q - weak) / gap.

    From the area under the deferral curve and the mean quality of both models; NaN if the strong one is no better.
    """
    return (area - weak) / (strong - weak) if strong > weak else nan


def calls_needed(curve: Curve, weak: float, strong: float, share: float) -> float:
    """Return the call-performance threshold CPT(share): the least deferral rate that recovers this share of the gap.

    NaN if the strong model is no better, or if no point of the deferral curve recovers as much.
    """
    if strong <= weak:
        return nan
    required = weak + share * (strong - weak)
    indices = np.flatnonzero(curve.quality >= required)
    if not len(indices):
        return nan
    k = int(indices[0])
    if k == 0:
        return float(curve.x[0])
    return float(np.interp(required, curve.quality[k - 1 : k + 1], curve.x[k - 1 : k + 1]))
