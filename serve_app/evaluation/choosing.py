"""`cascade choose`: of all subsets of the members, signals and thresholds, the cascades that are worth having."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import yaml

from serve_app.core.types import Tier
from serve_app.errors import DataError, SignalError
from serve_app.evaluation import plain
from serve_app.evaluation.calibration import writable
from serve_app.evaluation.choose import Choice, Spec, choose, specs, within_budget
from serve_app.evaluation.fronts import recorded
from serve_app.evaluation.material import Material
from serve_app.evaluation.pareto import RecordedTarget, RecordedTier
from serve_app.evaluation.plain import Body
from serve_app.evaluation.policies import Candidate, fitted_chows
from serve_app.evaluation.setup import Setup
from serve_app.signals import BlendConfig, ChowConfig, confidence

if TYPE_CHECKING:
    from rich.console import Console

TOKEN_LEVEL = ("chow_sum", "chow_avg")
MOST_MEMBERS = 8
"""255 subsets; more would take hours, and nobody serves them."""


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The front, cheapest first, and its best cascade within the budget, None where even the cheapest costs more."""

    unit: str
    budget: float | None
    front: list[Body]
    best: Body | None
    source: Body

    def body(self) -> Body:
        """For machines."""
        return {
            "unit": self.unit,
            "budget": self.budget,
            "best": self.best,
            "front": self.front,
            "source": self.source,
        }


def find(material: Material, budget: float | None, unit: Literal["flops", "usd", "device_s"] | None = None) -> Chosen:
    """Chosen on one half of the examples, reported on the other. `budget` is a share of the target's mean cost.

    The material has one cascade of all members. Raises DataError where costs are not known.
    """
    [id_] = material.config.cascades
    group = material.groups[-1]
    tuning, testing = material.parts(group.index, 0.5)
    if min(len(tuning), len(testing)) < 2:
        raise DataError(f"{len(group.index)} examples are too few to choose on one half and report on the other.")
    setup = Setup(material, group, id_, tuning, testing)
    unit_ = unit or setup.unit(setup.tiers[:-1])
    cost = setup.target_cost.get(unit_)
    if cost is None:
        raise DataError(f"The cost in {unit_} is not known of every model, or the target is free.")
    target = RecordedTarget(setup.quality(setup.target), cost)
    chows = _chows(setup)
    choices = choose(_candidates(setup, chows, unit_), target, (tuning, testing))
    alone = float(cost[tuning].mean()), float(cost[testing].mean())
    best = None if budget is None else within_budget(choices, budget * alone[0])
    front = [_body(setup, chows, choice, *alone) for choice in choices]
    chosen = None if best is None else front[choices.index(best)]
    return Chosen(unit_, budget, front, chosen, material.source)


def _chows(setup: Setup) -> dict[str, ChowConfig]:
    """The token-level signals with z-scores fitted on the first half; none where a member has no log-probabilities."""
    try:
        fitted = fitted_chows(setup.material, setup.tiers[0].models, setup.group.index[setup.fit])
    except SignalError:
        return {}
    return {chow.kind: chow for chow in fitted if chow.kind in TOKEN_LEVEL}


def _candidates(setup: Setup, chows: Mapping[str, ChowConfig], unit: str) -> Iterator[tuple[Spec, list[RecordedTier]]]:
    members = setup.tiers[0].models
    if len(members) > MOST_MEMBERS:
        raise DataError(f"{len(members)} members have too many subsets; name up to {MOST_MEMBERS} with --members.")
    pairwise = [name for name, signal in setup.material.signals.items() if not isinstance(signal, BlendConfig)]
    for spec in specs(members, pairwise, tuple(chows)):
        candidate = _candidate(setup, spec, chows.get(spec.signal))
        if unit in setup.tier_cost(candidate.tier):
            yield spec, [recorded(setup, candidate, unit)]


def _candidate(setup: Setup, spec: Spec, chow: ChowConfig | None) -> Candidate:
    tier = Tier(
        spec.members,
        spec.signal,
        agreement="mean" if chow else "max",
        min_answers=min(2, len(spec.members)),
        truncated=setup.tiers[0].truncated,
    )
    if chow is not None:
        tier = replace(tier, confidence=confidence(chow))
    return Candidate("semantic", setup.material.evidence.judge(tier, chow, setup.group.index), chow)


def _body(
    setup: Setup, chows: Mapping[str, ChowConfig], choice: Choice[Spec], alone_tuning: float, alone: float
) -> Body:
    spec = choice.cascade
    return {
        "members": list(spec.members) if spec else [],
        "signal": spec.signal if spec else None,
        "target": setup.target,
        "threshold": writable(choice.held_out.thresholds[0]) if spec else None,
        "signals": _settings(chows, spec),
        "cost": plain.number(choice.held_out.cost / alone),
        "quality": plain.number(choice.held_out.quality),
        "rate": plain.number(choice.held_out.deferred) if spec else 1.0,
        "when_chosen": {
            "cost": plain.number(choice.chosen.cost / alone_tuning),
            "quality": plain.number(choice.chosen.quality),
        },
        "signature": _signature(setup, spec),
    }


def _settings(chows: Mapping[str, ChowConfig], spec: Spec | None) -> Body:
    """What the config's `signals` must say for the threshold to mean the same: the members' z-scores."""
    if spec is None or spec.signal not in chows:
        return {}
    zscores = {model: chows[spec.signal].zscores[model].model_dump() for model in spec.members}
    return {spec.signal: {"kind": spec.signal, "zscores": zscores}}


def _signature(setup: Setup, spec: Spec | None) -> str:
    source = setup.material.source
    models = f"{'+'.join(spec.members)}>{setup.target}" if spec else setup.target
    return (
        f"data:{source['data_sha256'][:12]}|group:{setup.group.name}|n:{len(setup.test)}|chosen on:{len(setup.fit)}|"
        f"metric:{setup.metric}|models:{models}|weights:{source['models_sha256'][:12]}|"
        f"signal:{spec.signal if spec else 'none'}|seed:{source['seed']}|version:{source['version']}"
    )


def render(found: Chosen, console: "Console") -> None:
    """Show it to people."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    names = ("members", "signal", "threshold", f"{found.unit} / target's", "quality", "deferred", "quality when chosen")
    for name in names:
        shown.add_column(name, justify="left" if name in ("members", "signal") else "right")
    for one in found.front:
        style = "bold green" if one is found.best else None
        shown.add_row(*map(escape, _cells(one)), style=style)
    console.print(shown)
    console.print("Chosen on one half of the examples; all but the last column is from the other.", style="dim")
    if found.best is not None:
        console.print(
            f"Within {found.budget:.0%}:\n{_snippet(found.best)}", markup=False, highlight=False, soft_wrap=True
        )
        console.print(found.best["signature"], style="dim", markup=False, soft_wrap=True)


def _cells(one: Body) -> Sequence[str]:
    threshold = one["threshold"]
    return (
        " + ".join(one["members"]) or f"{one['target']} alone",
        one["signal"] or "",
        "" if threshold is None else f"{threshold:.5g}",
        f"{one['cost']:.1%}",
        f"{one['quality']:.4f}",
        f"{one['rate']:.1%}",
        f"{one['when_chosen']['quality']:.4f}",
    )


def _snippet(one: Body) -> str:
    """As a config has it."""
    target = {"models": [one["target"]]}
    first = {"models": one["members"], "signal": one["signal"], "threshold": one["threshold"]}
    config = {"tiers": [first, target] if one["members"] else [target]}
    if one["signals"]:
        config = {"signals": one["signals"]} | config
    return str(yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=120)).rstrip()


def nothing_within(found: Chosen) -> DataError:
    """Says why no cascade is within the budget."""
    cheapest = found.front[0]["when_chosen"]["cost"]
    return DataError(
        f"No cascade costs {found.budget:.1%} of the target's {found.unit} or less; the cheapest costs {cheapest:.1%}."
    )
