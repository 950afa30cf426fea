"""What a request costs: each model's recorded answers, priced in every unit."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Literal, TypeAlias

import numpy as np

from serve_app.core.cost import ModelCost, price
from serve_app.core.types.answer import Answer
from serve_app.evaluation.statistics.curves import Floats

Unit: TypeAlias = Literal["flops", "usd", "device_s", "latency_s"]
"""`latency_s` is how long a request waits: for the slowest member, the scorer and, if deferred, the target."""
UNITS: tuple[Unit, ...] = ("flops", "usd", "device_s", "latency_s")
LATENCIES = "Latencies are those of collecting: of its machine, and under its --concurrency."

Costs: TypeAlias = Mapping[Unit, Floats | None]
"""(n,) for each unit; None if the cost of any answer is unknown in that unit."""


def model_costs(answers: Sequence[Answer], cost: ModelCost) -> Costs:
    """Return what each of n answers of one model cost."""
    latencies = [None if isnan(answer.latency_s) else answer.latency_s for answer in answers]
    costs = [
        price(cost, answer.prompt_tokens, answer.completion_tokens, latency_s)
        for answer, latency_s in zip(answers, latencies, strict=True)
    ]
    return {
        "flops": _column([cost.flops for cost in costs]),
        "usd": _column([cost.usd for cost in costs]),
        "device_s": _column([cost.device_s for cost in costs]),
        "latency_s": _column(latencies),
    }


def total(columns: Sequence[Floats | None]) -> Floats | None:
    """Return the sum of (n,) costs, or None if one of them is unknown."""
    available = [column for column in columns if column is not None]
    summed: Floats = np.sum(available, axis=0)
    return summed if len(available) == len(columns) else None


def _column(values: Sequence[float | None]) -> Floats | None:
    available = [value for value in values if value is not None]
    return np.array(available) if len(available) == len(values) else None
