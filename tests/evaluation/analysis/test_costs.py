"""Prices of recorded answers, in every unit."""

from math import nan

import numpy as np
import pytest

from serve_app.core.cost import ModelCost
from serve_app.core.types.answer import Failure, Generation
from serve_app.evaluation.analysis.costs import model_costs

COST = ModelCost(1e9, input_usd=2, output_usd=5, devices=4)


def test_every_answer_is_priced_in_every_unit() -> None:
    costs = model_costs(
        [Generation("x", "stop", 10, 2, latency_s=0.5), Failure("error", "x", 10, 0, latency_s=0.25)], COST
    )
    assert {unit: None if cost is None else cost.tolist() for unit, cost in costs.items()} == {
        "flops": [2.4e10, 2e10],
        "usd": [pytest.approx(3e-5), pytest.approx(2e-5)],
        "device_s": [2.0, 1.0],
        "latency_s": [0.5, 0.25],
    }


def test_one_answer_that_nobody_timed_leaves_seconds_unknown() -> None:
    costs = model_costs(
        [Generation("x", "stop", 10, 2, latency_s=0.5), Generation("y", "stop", 10, 2, latency_s=nan)], COST
    )
    assert (costs["device_s"], costs["latency_s"]) == (None, None)
    assert costs["flops"] is not None
    assert np.all(costs["flops"] == 2.4e10)
