"""Warnings about a calibrated config: what in it was not calibrated for the goal, and what has no effect."""

from collections.abc import Collection, Iterator
from shlex import quote

from serve_app.config import CascadeConfig
from serve_app.config.checking.report import unused_thresholds
from serve_app.evaluation.calibrate.alternatives import SHED, STAND_IN


def warnings(id_: str, cascade: CascadeConfig, alternatives: Collection[str], *, written: bool) -> Iterator[str]:
    """Yield a sentence for each, of the cascade to serve; `alternatives`: what was calibrated beside the usual."""
    if SHED in alternatives and (sentence := unused_thresholds(id_, cascade.shed)):
        yield sentence
    if not written or STAND_IN in alternatives:
        return
    for number, tier in enumerate(cascade.tiers):
        if (stand_in := tier.on_scorer_failure) is not None:
            renewed = f"cascade calibrate with this goal and --stand-in {quote(stand_in.signal)} renews it"
            if len(cascade.tiers) > 2:
                renewed = "calibrate it as a cascade of its own"
            yield (
                f"cascades.{id_}.tiers[{number}].on_scorer_failure: {stand_in.signal} at {stand_in.threshold:g} is "
                f"kept as it was, and is not for this goal: {renewed}."
            )
