"""What this router replica has done in the last minutes, kept so that a request costs next to nothing."""

from collections import defaultdict, deque
from collections.abc import Callable
from time import time
from typing import NamedTuple
from uuid import uuid4

from serve_app.core.record import DecisionRecord
from serve_app.core.record_json import JsonObject
from serve_app.core.types.answer import Generation
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.prompt import Prompt
from serve_app.deployments.policies import Policies
from serve_app.deployments.protecting.protection import Protection
from serve_app.deployments.protecting.shedding import Shedding
from serve_app.deployments.showing.figures import RECENT, CascadeFigures, Decision, Figures, ModelFigures
from serve_app.deployments.showing.tally import Tally, summed

WINDOW_S = 300
"""Seconds that the figures are about."""
MOST_CHARACTERS = 200
"""Characters of a text that operators see, if they may see any."""


class Decided(NamedTuple):
    """One of the latest decisions, at `at` seconds of Unix time, with what was asked and answered if it may be kept."""

    at: float
    record: DecisionRecord
    texts: JsonObject | None


class History:
    """A cascade's requests of the last minutes, as a tally for each second of Unix time that had one.

    Those of the latest second are counted together once it is over: one by one they cost three times as much.
    """

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, Tally]] = deque(maxlen=WINDOW_S)
        self._latest = 0
        self._uncounted: list[tuple[DecisionRecord, bool]] = []

    def ended(self, second: int, record: DecisionRecord, failed: bool) -> None:
        """Take in a request that ended in this second."""
        if second != self._latest:
            self._count()
            self._latest = second
        self._uncounted.append((record, failed))

    def _count(self) -> None:
        if not self._uncounted:
            return
        if not self._seconds or self._seconds[-1][0] != self._latest:
            self._seconds.append((self._latest, Tally()))
        tally, uncounted = self._seconds[-1][1], self._uncounted
        self._uncounted = []  # first: what cannot be counted must not come back with every request
        for record, failed in uncounted:
            tally.count(record, failed=failed)

    def figures(self, now: float, shedding: bool, pressure: float) -> CascadeFigures:
        """Return what the last minutes add up to. A clock that was set back leaves out what it takes for the future."""
        self._count()
        seconds = [(second, tally) for second, tally in self._seconds if now - WINDOW_S < second <= now]
        series: dict[int, tuple[int, int, int]] = {}
        for second, tally in seconds:
            requests, deferred, failed = series.get(second, (0, 0, 0))
            series[second] = requests + tally.requests, deferred + tally.deferred, failed + tally.failed
        return CascadeFigures(summed(tally for _, tally in seconds), series, shedding, pressure)


class Live:
    """The last minutes of a router replica's cascades; `clock` gives seconds of Unix time, which routers share.

    `texts`: whether the latest decisions are kept with what was asked and answered.
    """

    def __init__(
        self,
        policies: Policies,
        protection: Protection,
        shedding: Shedding,
        clock: Callable[[], float] = time,
        *,
        texts: bool = False,
    ) -> None:
        self._policies = policies
        self._protection = protection
        self._shedding = shedding
        self._clock = clock
        self._histories: defaultdict[str, History] = defaultdict(History)
        self._recent: deque[Decided] = deque(maxlen=RECENT)
        self.texts = texts
        self.router = uuid4().hex[:6]

    def ended(self, prompt: Prompt, outcome: Outcome | None, record: DecisionRecord) -> None:
        """Count a request that has ended; unless texts are shown, nothing is kept that a client or a model wrote."""
        if record.tiers and record.tiers[0].answers is not None:  # all tiers have theirs, or none has
            record = record.without_answers()
        now = self._clock()
        failed = outcome is not None and not isinstance(outcome.answer, Generation)
        self._histories[record.id].ended(int(now), record, failed)
        self._recent.append(Decided(now, record, _texts(prompt, outcome) if self.texts else None))

    def figures(self) -> Figures:
        """Return the figures of now."""
        now = self._clock()
        left_out = self._protection.left_out()
        return Figures(
            frozenset({self.router}),
            now,
            self._cascades(now),
            {
                name: ModelFigures(load.in_progress, load.slots, int(name in left_out))
                for name, load in self._protection.loads.items()
            },
            tuple(Decision(decided.at, self.router, _shown(decided)) for decided in reversed(self._recent)),
        )

    def _cascades(self, now: float) -> dict[str, CascadeFigures]:
        """Return the figures of every cascade, and of each single model that was asked in the last minutes."""
        shedding = {id_: (active, pressure) for id_, active, pressure in self._shedding.states()}
        figures = {
            id_: self._histories.get(id_, History()).figures(now, *shedding.get(id_, (False, 0.0)))
            for id_ in dict.fromkeys((*self._policies.thresholds, *self._histories))
        }
        return {id_: each for id_, each in figures.items() if each.tally.requests or id_ in self._policies.thresholds}


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
