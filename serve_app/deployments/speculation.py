"""Speculation of a router's cascades: their policies, the history of their tiers, and the room at their models."""

from collections.abc import Mapping, Sequence

from serve_app.config import AppConfig
from serve_app.core.cost import ModelCost, Speed
from serve_app.core.running.run import Run
from serve_app.core.speculation import CascadeSpeculation, Priced, Room, TierHistory, learn
from serve_app.core.types.policy import Tier


class Speculations:
    """The speculation of every cascade with `speculate` in its config."""

    def __init__(
        self, config: AppConfig, costs: Mapping[str, ModelCost], speeds: Mapping[str, Speed], room: Room
    ) -> None:
        self._policies = {
            id_: cascade.speculate.policy()
            for id_, cascade in config.cascades.items()
            if cascade.speculate is not None and len(cascade.tiers) > 1
        }
        self._histories = {id_: [TierHistory() for _ in config.cascades[id_].tiers[:-1]] for id_ in self._policies}
        self._priced = {name: Priced(costs[name], speeds[name]) for name in costs}
        self._room = room

    def of(self, cascade: str, tiers: Sequence[Tier]) -> CascadeSpeculation | None:
        """Return the speculation of a request to a cascade with these tiers, or None if there is none."""
        if cascade not in self._policies:
            return None
        return CascadeSpeculation(self._policies[cascade], self._histories[cascade], tiers, self._priced, self._room)

    def ended(self, cascade: str, run: Run) -> None:
        """Learn from a request, unless it skipped its tiers: how long they took, and whether they deferred."""
        if run.escalated or run.skipped:
            return
        learn(self._histories.get(cascade, ()), run.results)
