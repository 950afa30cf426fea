"""One cascade on one group of examples: its tiers, the parts of the examples, qualities and costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from serve_app.core.sampling import parsed_name
from serve_app.core.types.policy import Tier
from serve_app.errors import DataError
from serve_app.evaluation.analysis.candidates import Candidate
from serve_app.evaluation.analysis.costs import UNITS, Costs, Unit
from serve_app.evaluation.analysis.dataset import Dataset, Group
from serve_app.evaluation.statistics.curves import Floats, Integers, Sweep, sweep
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier
from serve_app.evaluation.statistics.search import Alone


@dataclass(frozen=True, eq=False)
class CascadeView:
    """A cascade of the data set's config. `fit` and `test`: disjoint parts of the group's examples, as indices.

    All arrays run over the data set's n examples; outside of the group they are NaN, or not to be read.
    """

    dataset: Dataset
    group: Group
    id: str
    fit: Integers
    test: Integers

    @cached_property
    def tiers(self) -> tuple[Tier, ...]:
        """Return the tiers as the decision core takes them, with the config's thresholds."""
        config = self.dataset.config
        return config.tiers(self.id, config.thresholds()[self.id])

    @property
    def target(self) -> str:
        return self.tiers[-1].models[0]

    @property
    def metric(self) -> str:
        return self.group.metrics[0]

    def quality(self, model: str, metric: str | None = None) -> Floats:
        """Return the quality of a model's answers, shape (n,), by `metric` or the group's main one."""
        return self.group.quality[metric or self.metric][model]

    def qualities(self, models: Sequence[str], metric: str | None = None) -> Floats:
        """Return the quality of m models' answers, shape (m, n)."""
        return np.stack([self.quality(model, metric) for model in models])

    def best_member(self, models: Sequence[str]) -> str:
        """Return the model of the highest quality on the fit examples: it is compared with on others."""
        return models[int(self.qualities(models)[:, self.fit].mean(axis=1).argmax())]

    def selected_quality(self, candidate: Candidate, metric: str | None = None) -> Floats:
        """Return the quality of the selected answers, shape (n,); 0 if none was selected."""
        return candidate.scored.take(self.qualities(candidate.tier.models, metric))

    def sweep(self, candidate: Candidate, part: Integers, metric: str | None = None) -> Sweep:
        """Return the sweep of all thresholds on a part of the examples."""
        selected_quality, target = self.selected_quality(candidate, metric), self.quality(self.target, metric)
        return sweep(candidate.scored.scores[part], selected_quality[part], target[part])

    def cost(self, model: str) -> dict[Unit, Floats]:
        """Return a model's cost, (n,) in every unit in which it is known."""
        costs = self.dataset.costs[model]
        return {unit: cost for unit in UNITS if (cost := costs[unit]) is not None}

    @cached_property
    def target_cost(self) -> dict[Unit, Floats]:
        """Return the target's cost in every unit in which it is known and not zero."""
        return {unit: cost for unit, cost in self.cost(self.target).items() if cost[self.test].any()}

    def tier_costs(self, tiers: Sequence[Tier]) -> dict[Unit, list[Floats]]:
        """Return the costs of each of these tiers, then of the target, (n,) each, paid by requests that get there.

        In those units of `target_cost` in which all are known. A model of several tiers costs nothing but in the first.
        """
        costs: list[Costs] = []
        asked_models: set[str] = set()
        for tier in (*tiers, self.tiers[-1]):
            costs.append(self.dataset.tier_cost(tier, asked_models))
            asked_models.update(tier.models)
        available = {
            unit: [cost for tier_cost in costs if (cost := tier_cost[unit]) is not None] for unit in self.target_cost
        }
        return {unit: columns for unit, columns in available.items() if len(columns) == len(costs)}

    def unit(self, tiers: Sequence[Tier]) -> Unit:
        """Return the first unit in which all tiers' and the target's costs are known.

        Raises DataError if there is none.
        """
        if unit := next(iter(self.tier_costs(tiers)), None):
            return unit
        raise DataError(f"No cost of the cascade {self.id!r} is known in any unit.")


def recorded(
    view: CascadeView, candidates: Sequence[Candidate], costs: Sequence[Floats]
) -> tuple[list[RecordedTier], RecordedTarget]:
    """Return the tiers and the target as the statistics of thresholds take them; `costs` are those of `tier_costs`."""
    tiers = [
        RecordedTier(candidate.scored.scores, view.selected_quality(candidate), cost)
        for candidate, cost in zip(candidates, costs, strict=False)
    ]
    return tiers, RecordedTarget(view.quality(view.target), costs[-1])


def models_alone(view: CascadeView, unit: Unit) -> dict[Alone, RecordedTarget]:
    """Return every model whose cost is known in that unit as one that answers every request itself.

    A sample of a model is left out unless it is the target: alone a model answers greedily, which is another answer.
    """
    members = [model for tier in view.tiers[:-1] for model in tier.models if parsed_name(model) is None]
    models = [*members, view.target]
    costs = {model: view.cost(model) for model in models}
    return {
        Alone(model): RecordedTarget(view.quality(model), cost[unit]) for model, cost in costs.items() if unit in cost
    }
