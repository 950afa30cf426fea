"""What requests add up to, as counts: the sum of two tallies is the tally of all their requests."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, log
from typing import TypeVar

from serve_app.core.deciding.histogram import Histogram
from serve_app.core.record import DecisionRecord
from serve_app.core.types.signal_range import Range

K = TypeVar("K")

GROWTH = 1.02
"""Ratio of the ends of a latency's bucket: a percentile is off by at most 1% (DDSketch, Masson et al., VLDB 2019)."""
LOG_GROWTH = log(GROWTH)
SHORTEST_S = 1e-6
GRID = 4000
"""Steps from one whole number to the next in which agreements are counted; 100 in a bin of a signal from 0 to 1."""


@dataclass(slots=True)
class Tally:
    """Counts of requests; `latencies` are by bucket, `agreements` by step of the grid.

    `costs` has what requests cost, and what the target alone would have cost, in each unit that is known of both.
    """

    requests: int = 0
    deferred: int = 0
    failed: int = 0
    latencies: dict[int, int] = field(default_factory=dict)
    agreements: dict[int, int] = field(default_factory=dict)
    costs: dict[str, tuple[float, float]] = field(default_factory=dict)

    def count(self, record: DecisionRecord, *, failed: bool) -> None:
        """Count one request that has ended."""
        self.requests += 1
        self.failed += failed
        self.deferred += bool(record.deferred)
        if (total_s := record.timings.total) is not None:
            bucket = ceil(log(max(total_s, SHORTEST_S)) / LOG_GROWTH)
            self.latencies[bucket] = self.latencies.get(bucket, 0) + 1
        if (agreement := _agreement(record)) is not None:
            step = round(agreement * GRID)
            self.agreements[step] = self.agreements.get(step, 0) + 1
        cost = record.cost
        if (alone := cost.target_only) is not None:
            self._spend("usd", cost.usd, alone.usd)
            self._spend("flops", cost.flops, alone.flops)
            self._spend("device_s", cost.device_s, alone.device_s)

    def add(self, other: "Tally") -> None:
        """Count the requests of another tally, which is not changed."""
        self.requests += other.requests
        self.deferred += other.deferred
        self.failed += other.failed
        add_counts(self.latencies, other.latencies)
        add_counts(self.agreements, other.agreements)
        for unit, (spent, alone) in other.costs.items():
            self._spend(unit, spent, alone)

    def _spend(self, unit: str, spent: float | None, alone: float | None) -> None:
        if spent is None or alone is None:
            return
        before = self.costs.get(unit)
        self.costs[unit] = (spent, alone) if before is None else (before[0] + spent, before[1] + alone)

    def latency_s(self, percent: int) -> float | None:
        """Return seconds that at least `percent` of the requests took no longer than, or None without any."""
        rank, passed = ceil(sum(self.latencies.values()) * percent / 100), 0
        for bucket in sorted(self.latencies):
            passed += self.latencies[bucket]
            if passed >= rank:
                return float(2 * GROWTH**bucket / (1 + GROWTH))  # as far from one end of the bucket as from the other
        return None

    def histogram(self, calibrated: Histogram | None, signal_range: Range | None) -> Histogram:
        """Return how agreement is spread, in the bins of the calibration or else over the signal's range."""
        values, numbers = [step / GRID for step in self.agreements], self.agreements.values()
        return Histogram.of(values, signal_range, numbers) if calibrated is None else calibrated.filled(values, numbers)


def add_counts(counts: dict[K, int], others: Mapping[K, int]) -> None:
    """Add other counts to these; a key that is missing counts as zero."""
    for key, number in others.items():
        counts[key] = counts.get(key, 0) + number


def summed(tallies: Iterable[Tally]) -> Tally:
    """Return the tally of all requests."""
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


def _agreement(record: DecisionRecord) -> float | None:
    """Return the agreement by which the first tier decided, or None if it did not, or another signal stood in."""
    decision = record.tiers[0].decision if record.tiers else None
    stood_in = decision is not None and decision.instead_of is not None
    return None if decision is None or stood_in or record.cached is not None else decision.agreement
