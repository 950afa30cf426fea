"""The thresholds that a correct answer's worth pays for: chosen on the fit examples, reported on the test examples."""

from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.core.deciding.exchange import ExchangePoint, paid_for
from serve_app.errors import UsageError
from serve_app.evaluation.analysis.candidates import as_configured
from serve_app.evaluation.analysis.cascade_view import CascadeView, recorded
from serve_app.evaluation.analysis.exchange import exchange_points
from serve_app.evaluation.analysis.json_values import Result
from serve_app.evaluation.statistics.pareto import run


@dataclass(frozen=True, slots=True)
class WorthResult(Result):
    """The thresholds for one worth of a correct answer, in US dollars, and means of a request under them.

    `loss_usd`: cost and worth x (1 - quality); `alone_loss_usd`: the same of the target alone.
    """

    willingness_usd: float
    thresholds: tuple[float, ...]
    deferred: float
    usd: float
    quality: float
    loss_usd: float
    alone_loss_usd: float


def worth(view: CascadeView, willingness_usd: Sequence[float]) -> tuple[WorthResult, ...]:
    """Return the thresholds that each worth of a correct answer pays for, by the config's signals.

    Raises UsageError if a price is unknown.
    """
    if not willingness_usd or not view.tiers[1:]:
        return ()
    candidates = [as_configured(view.dataset, tier, view.group.index) for tier in view.tiers[:-1]]
    points = exchange_points(view, candidates, view.fit)
    if not points:
        raise UsageError(
            f"--willingness-to-pay-usd: a model of {view.id!r} has no price in US dollars; --config takes a serving "
            "config with prices."
        )
    costs = view.tier_costs([candidate.tier for candidate in candidates])["usd"]
    tiers, target = recorded(view, candidates, costs)
    tested = [tier.take(view.test) for tier in tiers], target.take(view.test)
    alone = ExchangePoint((), float(tested[1].cost.mean()), float(tested[1].quality.mean()))
    results = []
    for willingness in willingness_usd:
        setting = run(*tested, paid_for(points, willingness).thresholds)
        means = ExchangePoint(setting.thresholds, setting.cost, setting.quality)
        results.append(
            WorthResult(
                willingness_usd=willingness,
                thresholds=setting.thresholds,
                deferred=setting.deferred,
                usd=setting.cost,
                quality=setting.quality,
                loss_usd=means.loss_usd(willingness),
                alone_loss_usd=alone.loss_usd(willingness),
            )
        )
    return tuple(results)
