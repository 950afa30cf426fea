"""One cascade on one group of examples: its tiers, the parts of the examples, qualities and costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from serve_app.core.types import Tier
from serve_app.errors import DataError
from serve_app.evaluation.analysis.candidates import Candidate
from serve_app.evaluation.analysis.dataset import UNITS, Dataset, Group
from serve_app.evaluation.statistics.curves import Floats, Integers, Sweep, sweep
from serve_app.evaluation.statistics.pareto import RecordedTier


@dataclass(frozen=True, eq=False)
class CascadeView:
    """`fit` and `test` are positions among the group's examples; all arrays are over the group's examples."""

    dataset: Dataset
    group: Group
    id: str
    fit: Integers
    test: Integers

    @cached_property
    def tiers(self) -> tuple[Tier, ...]:
        """As the decision core takes them, with the config's thresholds."""
        config = self.dataset.config
        return config.tiers(self.id, config.thresholds()[self.id])

    @property
    def target(self) -> str:
        return self.tiers[-1].models[0]

    @property
    def metric(self) -> str:
        return self.group.metrics[0]

    def quality(self, model: str, metric: str | None = None) -> Floats:
        """(n,)."""
        return self.group.quality[metric or self.metric][model]

    def qualities(self, models: Sequence[str], metric: str | None = None) -> Floats:
        """(m, n)."""
        return np.stack([self.quality(model, metric) for model in models])

    def kept(self, candidate: Candidate, metric: str | None = None) -> Floats:
        """(n,): quality of the selected answers; 0 where there is none."""
        return candidate.scored.take(self.qualities(candidate.tier.models, metric))

    def sweep(self, candidate: Candidate, part: Integers, metric: str | None = None) -> Sweep:
        """All thresholds, on a part of the examples."""
        kept, target = self.kept(candidate, metric), self.quality(self.target, metric)
        return sweep(candidate.scored.scores[part], kept[part], target[part])

    def cost(self, model: str) -> dict[str, Floats]:
        """A model's cost in every unit that is known."""
        costs = self.dataset.model_cost(model)
        return {unit: cost[self.group.index] for unit in UNITS if (cost := costs[unit]) is not None}

    @cached_property
    def target_cost(self) -> dict[str, Floats]:
        """In every unit that is known, and in which the target costs anything."""
        return {unit: cost for unit, cost in self.cost(self.target).items() if cost[self.test].any()}

    def tier_cost(self, tier: Tier) -> dict[str, Floats]:
        """Members and scorer, in the target's units as far as they are known of them too."""
        costs = self.dataset.tier_cost(tier)
        return {unit: cost[self.group.index] for unit in self.target_cost if (cost := costs[unit]) is not None}

    def unit(self, tiers: Sequence[Tier]) -> str:
        """The first unit that is known of all tiers and the target. DataError if there is none."""
        for unit in self.target_cost:
            if all(unit in self.tier_cost(tier) for tier in tiers):
                return unit
        raise DataError(f"No cost of the cascade {self.id!r} is known in any unit.")


def recorded(view: CascadeView, candidate: Candidate, unit: str) -> RecordedTier:
    """A candidate as the math of thresholds takes it."""
    return RecordedTier(candidate.scored.scores, view.kept(candidate), view.tier_cost(candidate.tier)[unit])
