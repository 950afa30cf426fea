from math import isnan

import numpy as np
import pytest

from serve_app.evaluation.statistics.curves import Curve, sweep
from serve_app.evaluation.statistics.gap import average_gap_recovered, calls_needed


def curve(rates, quality):
    return Curve(np.array(rates), np.array(quality), np.array(rates), np.zeros(len(rates)))


def test_apgr_by_hand():
    # (.72 - .4) / (.8 - .4)
    assert average_gap_recovered(0.72, 0.4, 0.8) == pytest.approx(0.8)
    # Random deferral recovers half of the gap, whatever the models.
    assert average_gap_recovered((0.3 + 0.9) / 2, 0.3, 0.9) == pytest.approx(0.5)
    assert isnan(average_gap_recovered(0.5, 0.8, 0.8))


def test_cpt_by_hand():
    swept = sweep([0.9, 0.2, 0.5, 0.5, None], [1, 0, 1, 0, 0], [1, 1, 0, 1, 1]).deferral_curve()
    # At 0, .2, .4, .8, 1 it is .4, .6, .8, .8, .8: half of the gap is .6, and 80% of it .72, 3/5 of the way on.
    assert calls_needed(swept, 0.4, 0.8, 0.5) == pytest.approx(0.2)
    assert calls_needed(swept, 0.4, 0.8, 0.8) == pytest.approx(0.32)
    assert calls_needed(swept, 0.2, 0.4, 0.5) == 0  # .3 is reached without any call


def test_the_first_of_several_crossings_counts():
    assert calls_needed(curve([0, 0.25, 0.5, 1], [0.0, 1.0, 0.0, 0.5]), 0.0, 0.5, 0.5) == pytest.approx(0.0625)


def test_a_gap_that_is_none_or_not_closed_has_no_threshold():
    falling = curve([0, 1], [0.5, 0.4])
    assert isnan(calls_needed(falling, 0.5, 0.4, 0.5))
    assert isnan(calls_needed(falling, 0.5, 0.7, 0.5))
