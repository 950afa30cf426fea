"""What this router replica has done in the last minutes, kept so that a request costs next to nothing."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic, time
from typing import NamedTuple
from uuid import uuid4

from serve_app.core.charges import RequestCost
from serve_app.core.cost import Cost
from serve_app.core.deciding.histogram import Histogram
from serve_app.core.percentiles import nearest_rank
from serve_app.core.record import DecisionRecord
from serve_app.core.record_json import JsonObject
from serve_app.core.types.answer import Generation
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.prompt import Prompt
from serve_app.deployments.policies import Policies
from serve_app.deployments.protecting.latest import Latest
from serve_app.deployments.protecting.protection import Protection
from serve_app.deployments.protecting.readiness import ReadinessProbe
from serve_app.deployments.protecting.shedding import Shedding

WINDOW_S = 300
"""Seconds that the figures are about."""
SERIES_S = 120
"""Seconds of the curve of requests."""
KEPT = 1000
"""Requests of a cascade that percentiles, savings and the histogram are about, at most."""
RECENT = 25
MOST_CHARACTERS = 200
"""Characters of a text that operators see, if they may see any."""
REUSED_S = 0.9
"""Seconds for which a snapshot is shared by all streams."""
UNITS = ("usd", "flops", "device_s")


class Ended(NamedTuple):
    """What figures need of a request that has ended, at `at` seconds of the clock; its record may be freed."""

    at: float
    failed: bool
    deferred: bool
    total_s: float | None
    agreement: float | None
    cost: RequestCost


class Decided(NamedTuple):
    """One of the latest decisions, at `at` seconds of Unix time, with what was asked and answered if it may be kept."""

    at: float
    record: DecisionRecord
    texts: JsonObject | None


@dataclass(slots=True)
class Counts:
    """Requests that ended in one second of the clock."""

    second: int
    requests: int = 0
    deferred: int = 0
    failed: int = 0


@dataclass(slots=True)
class History:
    """What is kept of one cascade."""

    ended: deque[Ended] = field(default_factory=lambda: deque(maxlen=KEPT))
    counts: deque[Counts] = field(default_factory=lambda: deque(maxlen=WINDOW_S))

    def add(self, request: Ended) -> None:
        """Count a request."""
        self.ended.append(request)
        second = int(request.at)
        if not self.counts or self.counts[-1].second != second:
            self.counts.append(Counts(second))
        last = self.counts[-1]
        last.requests += 1
        last.failed += request.failed
        last.deferred += request.deferred

    def series(self, now: int) -> Iterator[Counts]:
        """Yield the counts of the last full seconds, zeros for those without a request, the oldest first."""
        by_second = {counts.second: counts for counts in self.counts}
        return (by_second.get(second, Counts(second)) for second in range(now - SERIES_S, now))

    def within(self, since: float) -> list[Ended]:
        """Return the requests that ended after a time."""
        return [request for request in self.ended if request.at > since]


class Live:
    """The last minutes of a router replica's cascades; `clock` gives seconds that never go back.

    `texts`: whether the latest decisions are shown with what was asked and answered.
    """

    def __init__(
        self,
        policies: Policies,
        protection: Protection,
        readiness: ReadinessProbe,
        shedding: Shedding,
        clock: Callable[[], float] = monotonic,
        *,
        texts: bool = False,
    ) -> None:
        self._policies = policies
        self._protection = protection
        self._readiness = readiness
        self._shedding = shedding
        self._clock = clock
        self._histories: defaultdict[str, History] = defaultdict(History)
        self._texts = texts
        self._replica = uuid4().hex[:6]
        self._recent: deque[Decided] = deque(maxlen=RECENT)
        self._latest = Latest(self._figures, REUSED_S, clock)

    def ended(self, prompt: Prompt, outcome: Outcome | None, record: DecisionRecord) -> None:
        """Count a request that has ended; unless texts are shown, nothing is kept that a client or a model wrote."""
        if any(tier.answers is not None for tier in record.tiers):
            record = record.without_answers()
        failed = outcome is not None and not isinstance(outcome.answer, Generation)
        deferred, seconds = bool(record.deferred), record.timings.total
        request = Ended(self._clock(), failed, deferred, seconds, _agreement(record), record.cost)
        self._histories[record.id].add(request)
        texts = _texts(prompt, outcome) if self._texts else None
        self._recent.append(Decided(time(), record, texts))

    async def snapshot(self) -> JsonObject:
        """Return the figures, which all calls within a second share."""
        return await self._latest.get()

    async def _figures(self) -> JsonObject:
        readiness = await self._readiness.now()
        now = self._clock()
        replicas = readiness.details.get("replicas")
        left_out = self._protection.left_out()
        return {
            "replica": self._replica,
            "at": time(),
            "window_s": WINDOW_S,
            "ready": readiness.ready,
            "waiting_for": readiness.details.get("waiting_for"),
            "cascades": [self._cascade(id_, now) for id_ in self._policies.thresholds],
            "models": [
                {
                    "name": name,
                    "replicas": replicas.get(name) if isinstance(replicas, dict) else None,
                    "in_progress": load.in_progress,
                    "slots": load.slots,
                    "left_out": name in left_out,
                }
                for name, load in self._protection.loads.items()
            ],
            "texts": self._texts,
            "recent": [_shown(decided) for decided in reversed(self._recent)],
        }

    def _cascade(self, id_: str, now: float) -> JsonObject:
        history = self._histories.get(id_, History())
        requests, series = history.within(now - WINDOW_S), list(history.series(int(now)))
        lately = [counts for counts in history.counts if counts.second > now - WINDOW_S]
        seconds = sorted(request.total_s for request in requests if request.total_s is not None)
        tier = self._policies.tiers[id_][0]
        agreements = [request.agreement for request in requests if request.agreement is not None]
        expected, calibrated = self._policies.expected.get(id_), self._policies.agreements.get(id_)
        histogram = Histogram.of(agreements, tier.signal_range) if calibrated is None else calibrated.filled(agreements)
        return {
            "id": id_,
            "thresholds": list(self._policies.thresholds[id_]),
            "calibration": self._policies.calibrations.get(id_),
            "shed": self._shedding.state(id_),
            "expected_deferral": None if expected is None else list(expected),
            "asked": sum(counts.requests for counts in lately),
            "deferred": sum(counts.deferred for counts in lately),
            "failed": sum(counts.failed for counts in lately),
            "series": [[counts.requests, counts.deferred, counts.failed] for counts in series],
            "latency_s": {f"p{percent}": nearest_rank(seconds, percent) for percent in (50, 95, 99)},
            "agreements": histogram.to_json(),
            "calibrated_agreements": None if calibrated is None else list(calibrated.counts),
            "cost": _cost(requests),
        }


def _agreement(record: DecisionRecord) -> float | None:
    decision = record.tiers[0].decision if record.tiers else None
    stood_in = decision is not None and decision.instead_of is not None
    return None if decision is None or stood_in or record.cached is not None else decision.agreement


def _texts(prompt: Prompt, outcome: Outcome | None) -> JsonObject:
    question = prompt.text if prompt.text is not None else prompt.messages[-1].content
    answer = None if outcome is None else outcome.answer
    return {
        "prompt": _beginning(question),
        "answer": _beginning(answer.text) if isinstance(answer, Generation) else None,
    }


def _beginning(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …"


def _shown(decided: Decided) -> JsonObject:
    record = decided.record
    first = record.tiers[0].decision if record.tiers else None
    return {
        "at": decided.at,
        "id": record.id,
        "deferred": record.deferred,
        "answered_by": record.answered_by,
        "reason": record.reason,
        "agreement": None if first is None else first.agreement,
        "threshold": None if first is None else first.threshold,
        "total_s": record.timings.total,
        "cached": record.cached is not None,
        "shed": record.shed is not None,
        "texts": decided.texts,
    }


def _cost(requests: Sequence[Ended]) -> JsonObject:
    """Return what requests cost, beside what the target alone would have cost, in each unit that is known of both."""
    pairs = [(request.cost, request.cost.target_only) for request in requests]
    sums: JsonObject = {}
    for unit in UNITS:
        pairs_of_unit = [_known_pair(cost, alone, unit) for cost, alone in pairs if alone is not None]
        known_pairs = [pair for pair in pairs_of_unit if pair is not None]
        if known_pairs:
            sums[unit] = [sum(spent for spent, _ in known_pairs), sum(alone for _, alone in known_pairs)]
    return sums


def _known_pair(cost: Cost, alone: Cost, unit: str) -> tuple[float, float] | None:
    first, second = getattr(cost, unit), getattr(alone, unit)
    return None if first is None or second is None else (first, second)
