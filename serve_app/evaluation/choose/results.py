"""What `cascade choose` finds: frozen results, whose `to_json` is what users get with --json."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serve_app.config.cascades.samples import members_as_written
from serve_app.core.sampling import Sample
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.dataset import Source
from serve_app.evaluation.analysis.json_values import Body, Result, number, plain
from serve_app.evaluation.statistics.bootstrap import Interval


@dataclass(frozen=True, slots=True)
class ChosenTier:
    """A tier but the target, as a config has it; `samples`: how those among its models are drawn, by their names."""

    models: tuple[str, ...]
    signal: str
    threshold: float
    compare: Body | None = None
    samples: Mapping[str, Sample] = field(default_factory=dict)

    def to_config(self) -> Body:
        """Return the tier as a config has it; the threshold is not rounded."""
        models = members_as_written(self.models, self.samples)
        tier = {"models": models, "signal": self.signal, "threshold": self.threshold}
        return tier if self.compare is None else tier | {"compare": self.compare}


@dataclass(frozen=True, slots=True)
class WhenChosen(Result):
    """Cost (a share of the target's) and quality on the examples that the cascade was chosen on."""

    cost: float
    quality: float


@dataclass(frozen=True, slots=True)
class Gain(Result):
    """Quality less that of the best model alone that costs no more, paired on the examples not chosen on."""

    model: str
    difference: Interval


@dataclass(frozen=True, slots=True)
class ChosenCascade:
    """A cascade, or without tiers a model alone: the target; figures are of examples not chosen on.

    `several`: whether it has several tiers, or could have had; `signals`: what the config's `signals` must say; `cost`:
    as a share of the target's; `rate`: the share of requests that the first tier defers; `gain`: of a cascade.
    """

    tiers: tuple[ChosenTier, ...]
    target: str
    several: bool
    signals: Body
    cost: float
    quality: Interval
    rate: float | None
    gain: Gain | None
    when_chosen: WhenChosen
    signature: str

    def to_json(self) -> Body:
        """Return the fields by name; if there is one tier at most, its own in place of `tiers`."""
        return {
            **self._tiers(),
            "signals": self.signals,
            "cost": number(self.cost),
            "quality": plain(self.quality),
            "rate": plain(self.rate),
            "gain": plain(self.gain),
            "when_chosen": self.when_chosen.to_json(),
            "signature": self.signature,
        }

    def _tiers(self) -> Body:
        if self.several:
            return {"tiers": [tier.to_config() for tier in self.tiers], "target": self.target}
        tier = self.tiers[0] if self.tiers else None
        return {
            "members": list(tier.models) if tier else [],
            "signal": tier.signal if tier else None,
            "target": self.target,
            "threshold": tier.threshold if tier else None,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The Pareto front, cheapest first, and its best cascade within the budget.

    `best` is None without a budget, or if even the cheapest costs more. `instead`: the model alone to use, if no
    cascade pays; None if one does. `tried`: how many cascades, each with many thresholds; `left_out`: how many ladders
    are not, because there are so many. `examples`: how many the figures are of.
    """

    unit: Unit
    budget: float | None
    front: tuple[ChosenCascade, ...]
    best: ChosenCascade | None
    instead: ChosenCascade | None
    tried: int
    left_out: int
    examples: int
    source: Source

    def to_json(self) -> Body:
        """Return the JSON body."""
        return {
            "unit": self.unit,
            "budget": self.budget,
            "best": None if self.best is None else self.best.to_json(),
            "do_not_cascade": None if self.instead is None else self.instead.to_json(),
            "front": [cascade.to_json() for cascade in self.front],
            "tried": self.tried,
            "left_out": self.left_out,
            "examples": self.examples,
            "source": self.source.to_json(),
        }
