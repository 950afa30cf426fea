"""What `speculate` adds to a fleet's load: calls of the next tier that are stopped, since the tier before accepts."""

from dataclasses import dataclass

from serve_app.config.cascades.remedies import SpeculationConfig


@dataclass(frozen=True, slots=True)
class TierTimes:
    """Mean seconds of a tier until its decision, and of the slowest call of the next.

    `deferral_rate` is the tier's; `usd_after_tier` what the next tier's calls have cost once the tier has decided, None
    if a price is unknown.
    """

    tier_s: float
    next_s: float
    deferral_rate: float
    usd_after_tier: float | None


@dataclass(frozen=True, slots=True)
class Ahead:
    """The next tier asked ahead, for each request that gets to a tier.

    `wasted_calls`: how many calls of each of the next tier's models are made in vain, `wasted_visits` how much work of
    whole calls they do; `saved_s`: the seconds that a deferred request has less to wait, on average.
    """

    wasted_calls: float = 0.0
    wasted_visits: float = 0.0
    saved_s: float = 0.0


def ahead(speculate: SpeculationConfig | None, times: TierTimes) -> Ahead:
    """Return the estimate for a rule, as if every request took the mean seconds and there was always room.

    A stopped call does as much work as its share of the seconds of a whole one. Of `percentile` it counts as a whole
    one and saves nothing: how far times are above that percentile is not planned.
    """
    if speculate is None:
        return Ahead()
    accepted = 1 - times.deferral_rate
    if speculate.percentile is not None:
        started = 1 - speculate.percentile / 100
        return Ahead(started * accepted, started * accepted)
    delay_s = speculate.after_s or 0.0
    if delay_s >= times.tier_s or (speculate.when == "adaptive" and not _pays(speculate, times)):
        return Ahead()
    head_start_s = min(times.tier_s - delay_s, times.next_s)
    return Ahead(accepted, accepted * head_start_s / times.next_s, head_start_s)


def _pays(speculate: SpeculationConfig, times: TierTimes) -> bool:
    usd = times.usd_after_tier
    return usd is not None and speculate.policy().pays(times.deferral_rate, times.tier_s, usd)
