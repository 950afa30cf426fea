"""The ways to serve a cascade that are compared: as configured, without remedies, and with one of them changed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from serve_app.config import AppConfig
from serve_app.config.cascades.remedies import SpeculationConfig
from serve_app.config.checking.names import speculation_faults
from serve_app.core.deciding.carried import newly_asked
from serve_app.core.types.policy import Tier
from serve_app.evaluation.analysis.timing.requests import ServedCascade

CONFIGURED = "as configured"
WITHOUT = "without remedies"
EARLY: tuple[Literal["off", "decision", "selection"], ...] = ("off", "decision", "selection")
PERCENTILE = 90.0
"""What `speculate: {percentile: ...}` is tried at."""
SECOND_USD = 0.01
"""What a second is worth to `adaptive`, if the cascade does not say: 36 dollars an hour."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to serve a cascade, by its name."""

    name: str
    served: ServedCascade


def configured(config: AppConfig, id_: str, tiers: tuple[Tier, ...]) -> ServedCascade:
    """Return the cascade as its config has it."""
    cascade = config.cascades[id_]
    policy = None if cascade.speculate is None else cascade.speculate.policy()
    return ServedCascade(_plain_if_idle(tiers), policy, cascade.on_target_failure == "best_member")


def without_remedies(served: ServedCascade) -> ServedCascade:
    """Return the cascade that waits for every answer and asks nothing ahead; carried answers stay."""
    return replace(served, tiers=_waiting(_early(served.tiers, "off")), policy=None)


def changed(config: AppConfig, id_: str, served: ServedCascade, median_s: float) -> tuple[list[Variant], list[str]]:
    """Return the cascade with each remedy changed by itself, and sentences about what cannot be tried.

    `median_s`: of the first tier's decisions, for `after_s`.
    """
    speculative, notes = _speculative(config, id_, served, median_s)
    return [variant for variant in [*_stopped(served), *speculative] if variant.served != served], notes


def _stopped(served: ServedCascade) -> Iterator[Variant]:
    """Yield the other ways to stop waiting for answers, and to carry them over."""
    if any(replace(tier, early="selection").may_settle_early for tier in served.tiers):
        for early in EARLY:
            yield Variant(f"early: {early}", replace(served, tiers=_early(served.tiers, early)))
    if any(tier.decides_by_arrival for tier in served.tiers):
        yield Variant("no quorum, no tier_timeout_s", replace(served, tiers=_waiting(served.tiers)))
    if any(len(new) < len(tier.models) for tier, new in zip(served.tiers, _new(served), strict=True)):
        yield Variant("no carried answers", served.without_carrying())


def _new(served: ServedCascade) -> list[tuple[str, ...]]:
    return newly_asked([tier.models for tier in served.tiers])


def _speculative(
    config: AppConfig, id_: str, served: ServedCascade, median_s: float
) -> tuple[list[Variant], list[str]]:
    cascade = config.cascades[id_]
    speculation = cascade.speculate
    billed = speculation is not None and speculation.billed
    worth = SECOND_USD if speculation is None or speculation.second_usd is None else speculation.second_usd
    after_s = float(f"{median_s:.2g}")
    rules = {
        "speculate: always": SpeculationConfig(when="always", billed=billed),
        f"speculate: {{after_s: {after_s:g}}}": SpeculationConfig(after_s=after_s, billed=billed),
        f"speculate: {{percentile: {PERCENTILE:g}}}": SpeculationConfig(percentile=PERCENTILE, billed=billed),
        f"speculate: {{when: adaptive, second_usd: {worth:g}}}": SpeculationConfig(
            when="adaptive", second_usd=worth, billed=billed
        ),
    }
    variants = [Variant("speculate: off", replace(served, policy=None))]
    notes: dict[str, None] = {}
    for name, rule in rules.items():
        faults = list(speculation_faults(config, cascade, rule))
        if not faults:
            variants.append(Variant(name, replace(served, policy=rule.policy())))
        else:
            notes[f"Not tried: {name} {faults[0]}."] = None
    return variants, list(notes)


def _early(tiers: tuple[Tier, ...], early: Literal["off", "decision", "selection"]) -> tuple[Tier, ...]:
    return _plain_if_idle(tuple(replace(tier, early=early) for tier in tiers))


def _plain_if_idle(tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    """Return the tiers with `early: off` if it has no effect there, so that equal cascades are equal."""
    return tuple(tier if tier.may_settle_early else replace(tier, early="off") for tier in tiers)


def _waiting(tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    return tuple(replace(tier, quorum=None, tier_timeout_s=None) for tier in tiers)
