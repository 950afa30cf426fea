"""The live view: the figures of this router, and of all others while they can be had."""

from collections.abc import Callable, Sequence
from functools import reduce
from time import monotonic

from serve_app.core.record_json import JsonObject
from serve_app.deployments.policies import Policies
from serve_app.deployments.protecting.latest import Latest
from serve_app.deployments.protecting.readiness import ReadinessProbe
from serve_app.deployments.protecting.shedding import Shedding
from serve_app.deployments.showing.board import GONE_S
from serve_app.deployments.showing.exchange import FiguresExchange
from serve_app.deployments.showing.figures import CascadeFigures, Figures
from serve_app.deployments.showing.live import WINDOW_S, Live

SERIES_S = 120
"""Seconds of the curve of requests."""
REUSED_S = 0.9
"""Seconds for which a snapshot is shared by all streams."""


class LiveView:
    """Snapshots for the page; `exchange` is None if there is no other router. `clock` gives seconds."""

    def __init__(
        self,
        live: Live,
        exchange: FiguresExchange | None,
        policies: Policies,
        readiness: ReadinessProbe,
        shedding: Shedding,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._live = live
        self._exchange = exchange
        self._policies = policies
        self._readiness = readiness
        self._shedding = shedding
        self._latest = Latest(self._snapshot, REUSED_S, clock)

    async def snapshot(self) -> JsonObject:
        """Return the figures, which all calls within a second share."""
        return await self._latest.get()

    async def _snapshot(self) -> JsonObject:
        readiness = await self._readiness.now()
        own = self._live.figures()
        others: Sequence[Figures] | None = () if self._exchange is None else self._exchange.others()
        figures = reduce(Figures.merged, others or (), own)
        running = readiness.details.get("replicas")
        replicas = running if isinstance(running, dict) else {}
        # Each second is shown once all routers have reported it, unless one's clock is wrong.
        end = int(max(figures.at, own.at - GONE_S))
        return {
            "router": self._live.router,
            "routers": sorted(figures.routers),
            "running_routers": replicas.get("Router"),
            "others_unreachable": others is None,
            "at": own.at,
            "window_s": WINDOW_S,
            "ready": readiness.ready,
            "waiting_for": readiness.details.get("waiting_for"),
            "cascades": [
                self._cascade(id_, figures.cascades.get(id_, CascadeFigures()), end) for id_ in self._ids(figures)
            ],
            "models": [
                {
                    "name": name,
                    "replicas": replicas.get(name),
                    "in_progress": model.in_progress,
                    "slots": model.slots,
                    "left_out": model.left_out,
                }
                for name, model in figures.models.items()
            ],
            "texts": self._live.texts,
            "recent": [{"at": decision.at, "router": decision.router} | decision.shown for decision in figures.recent],
        }

    def _ids(self, figures: Figures) -> list[str]:
        """Return the ids of all cascades, and then of the single models that were asked in the last minutes."""
        cascades, models = self._policies.thresholds, figures.cascades.keys() & self._policies.tiers.keys()
        return [*cascades, *sorted(models - cascades.keys())]

    def _cascade(self, id_: str, figures: CascadeFigures, end: int) -> JsonObject:
        tally, expected, calibrated = (
            figures.tally,
            self._policies.expected.get(id_),
            self._policies.agreements.get(id_),
        )
        remedy = self._shedding.remedy(id_)
        shed = {"by": remedy, "active": figures.shedding, "pressure": figures.pressure}
        return {
            "id": id_,
            "thresholds": list(self._policies.thresholds.get(id_, ())),
            "single": id_ not in self._policies.thresholds,
            "calibration": self._policies.calibrations.get(id_),
            "shed": None if remedy is None else shed,
            "expected_deferral": None if expected is None else list(expected),
            "asked": tally.requests,
            "deferred": tally.deferred,
            "failed": tally.failed,
            "series": [list(figures.series.get(second, (0, 0, 0))) for second in range(end - SERIES_S, end)],
            "latency_s": {f"p{percent}": tally.latency_s(percent) for percent in (50, 95, 99)},
            "agreements": tally.histogram(calibrated, self._policies.tiers[id_][0].signal_range).to_json(),
            "calibrated_agreements": None if calibrated is None else list(calibrated.counts),
            "cost": {unit: list(pair) for unit, pair in tally.costs.items()},
        }
