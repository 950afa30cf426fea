"""Goals of a calibration: what a user can require of a cascade's thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeAlias

from serve_app.errors import ConfigError
from serve_app.evaluation.analysis.costs import Unit

Loss: TypeAlias = Literal["positive", "signed"]
"""What a risk bound is on: max(0, Q_target - Q_cascade), or Q_target - Q_cascade, where gains make up for losses."""
RISK_DELTA = 0.1


@dataclass(frozen=True, slots=True)
class Goal:
    """Exactly one of `rates`, `budget` (a share of the target's cost in `unit`), `quality` and `risk`.

    `rates`: the share of all requests that passes on beyond each tier but the target. `unit` is also that in which the
    cheapest thresholds of a quality are looked for. `delta`: the accepted probability that a tested goal is missed;
    without it a risk has `RISK_DELTA`, and a quality is no more than a mean on the examples. `label_free`: the risk
    bound is on disagreement with the target, which needs no references. `loss`: what the risk is otherwise.
    """

    rates: tuple[float, ...] | None = None
    budget: float | None = None
    unit: Unit = "flops"
    quality: float | None = None
    risk: float | None = None
    delta: float | None = None
    label_free: bool = False
    loss: Loss = "positive"

    def __post_init__(self) -> None:
        goals = [self.rates, self.budget, self.quality, self.risk]
        if sum(goal is not None for goal in goals) != 1:
            raise ConfigError("Choose exactly one goal: --deferral-rate, --budget, --quality or --risk.")
        for name, value in (("--risk", self.risk), ("--delta", self.delta)):
            if value is not None and not 0 < value < 1:
                raise ConfigError(f"{name} must be above 0 and below 1, not {value:g}.")
        if self.label_free and self.risk is None:
            raise ConfigError("--label-free goes with --risk; a rate and a budget need no labels anyway.")
        if self.delta is not None and self.risk is None and self.quality is None:
            raise ConfigError("--delta goes with --risk or --quality: nothing is tested of a rate or a budget.")
        if self.loss == "signed" and (self.risk is None or self.label_free):
            raise ConfigError("--loss signed goes with --risk, without --label-free: it needs two qualities.")
        if self.delta is not None and self.quality is not None and not 0 < self.quality < 1:
            raise ConfigError(f"--quality must be above 0 and below 1 to be tested, not {self.quality:g}.")
        if any(after > before for before, after in pairwise(self.rates or ())):
            shares = " then ".join(f"{rate:g}" for rate in self.rates or ())
            raise ConfigError(
                f"--deferral-rate {shares}: of all requests no more can pass beyond a tier than beyond the one before."
            )

    def relaxed(self, values: Sequence[float]) -> "Goal":
        """Return the same goal at other values, for when there is pressure. Raises ConfigError unless it is easier."""
        name, usual_values = next((name, value) for name, value in self._values().items() if value is not None)
        if len(values) != len(usual_values):
            raise ConfigError(f"--shed: needs as many values as --{name} has, {len(usual_values)}; got {len(values)}.")
        for value, usual in zip(values, usual_values, strict=True):
            if not (value > usual if name == "risk" else value < usual):
                side = "above" if name == "risk" else "below"
                raise ConfigError(f"--shed {value:g}: must be {side} the usual --{name} {usual:g}.")
        if name == "deferral-rate":
            return replace(self, rates=tuple(values))
        if name == "budget":
            return replace(self, budget=values[0])
        return replace(self, quality=values[0]) if name == "quality" else replace(self, risk=values[0])

    def _values(self) -> dict[str, tuple[float, ...] | None]:
        single = {"budget": self.budget, "quality": self.quality, "risk": self.risk}
        return {"deferral-rate": self.rates} | {
            name: None if value is None else (value,) for name, value in single.items()
        }

    @property
    def labelled(self) -> bool:
        """Return whether the goal needs references."""
        return self.quality is not None or (self.risk is not None and not self.label_free)

    @property
    def tested_delta(self) -> float | None:
        """Return the probability with which a tested goal may be missed, or None if the goal is not tested."""
        return RISK_DELTA if self.risk is not None and self.delta is None else self.delta

    @property
    def falls_with_threshold(self) -> bool:
        """Return whether what is tested can only fall as a single tier's threshold rises, example by example."""
        return self.risk is not None and self.loss == "positive"

    def check(self, tiers: int) -> None:
        """Raise ConfigError if the goal is deferral rates and there is not one for each of `tiers` tiers."""
        if self.rates is not None and len(self.rates) != tiers:
            requirement = "one share" if tiers == 1 else f"{tiers} shares, one for each tier but the target"
            example = " ".join(f"--deferral-rate {0.5 / 2**k:g}" for k in range(tiers))
            raise ConfigError(
                f"--deferral-rate: this cascade needs {requirement}, as in {example}; got {len(self.rates)}."
            )

    def __str__(self) -> str:
        if self.rates is not None:
            return _passing(self.rates)
        if self.budget is not None:
            return f"cost at most {self.budget:.1%} of the target alone, in {self.unit}"
        probably = "" if self.tested_delta is None else f"with probability {1 - self.tested_delta:g} "
        if self.quality is not None:
            return f"{probably}a mean quality of at least {self.quality:g}"
        if self.loss == "signed":
            return f"{probably}an expected quality at most {self.risk:g} below the target's"
        loss = "disagreement with the target" if self.label_free else "loss of quality against the target"
        return f"{probably}an expected {loss} of at most {self.risk:g}"


def _passing(rates: tuple[float, ...]) -> str:
    if len(rates) == 1:
        return f"defer {rates[0]:.1%} of the requests"
    shares = " and ".join(f"{rate:.1%} beyond tier {number}" for number, rate in enumerate(rates, start=1))
    return f"pass on {shares}, of all requests"
