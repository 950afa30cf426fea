"""Speculation of a router's cascades: their policies, the history of their tiers, and the room at their models."""

from collections.abc import Callable, Mapping, Sequence

from serve_app.config import AppConfig
from serve_app.core.cost import ModelCost, Speed
from serve_app.core.running.run import Run
from serve_app.core.speculation import Priced, SpeculationPolicy, TierHistory
from serve_app.core.types import Prompt, Tier

Room = Callable[[Sequence[str]], bool]
"""Whether these models would begin with a request each at once."""


class Speculations:
    """What is speculated on, for every cascade that says `speculate`."""

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

    def of(self, cascade: str, tiers: Sequence[Tier]) -> "CascadeSpeculation | None":
        """Return the speculation of a request to a cascade with these tiers, or None if there is none."""
        if cascade not in self._policies:
            return None
        return CascadeSpeculation(self._policies[cascade], self._histories[cascade], tiers, self._priced, self._room)

    def ended(self, cascade: str, run: Run) -> None:
        """Learn from a request: how long its tiers took, and whether they deferred. An escalated one has none."""
        if run.escalated:
            return
        for history, result in zip(self._histories.get(cascade, ()), run.results, strict=False):
            history.observe(result)


class CascadeSpeculation:
    """The core's `Speculation` for one request."""

    def __init__(
        self,
        policy: SpeculationPolicy,
        histories: Sequence[TierHistory],
        tiers: Sequence[Tier],
        priced: Mapping[str, Priced],
        room: Room,
    ) -> None:
        self._policy = policy
        self._histories = histories
        self._tiers = tiers
        self._priced = priced
        self._room = room

    def delay_s(self, number: int, prompt: Prompt) -> float | None:
        asked = {name for tier in self._tiers[: number + 1] for name in tier.models}
        following = [self._priced[name] for name in self._tiers[number + 1].models if name not in asked]
        return self._policy.delay_s(self._histories[number], prompt, following)

    def may_start(self, models: Sequence[str]) -> bool:
        return self._room(models)
