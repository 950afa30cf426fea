"""What one request has cost: every call priced once, for record and metrics alike."""

from collections.abc import Mapping
from dataclasses import dataclass

from serve_app.core.cost import Cost, EstimatedCost, ModelCost, Speed, call_cost, scoring_cost, target_only
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Generation
from serve_app.core.types.outcome import Outcome


@dataclass(frozen=True, slots=True)
class RequestCost(EstimatedCost):
    """The cost of a whole request, and what the target alone would have cost; None if nothing was answered.

    `wasted` is the part of it for calls that were made before they were known to be needed, and were not.
    """

    target_only: EstimatedCost | None = None
    wasted: Cost | None = None


@dataclass(frozen=True, slots=True)
class Charges:
    """The cost of each of a run's calls, in the order of `Run.calls`, and of the whole request.

    `scoring` is what all comparisons of its answers cost, and the look-up of requests like it.
    """

    calls: tuple[Cost, ...]
    scoring: Cost
    request: RequestCost


def charge(run: Run, outcome: Outcome | None, models: Mapping[str, ModelCost]) -> Charges:
    """Price all calls, failed and cancelled ones included, all scoring and the look-up of requests like it.

    `outcome` is None if it was cancelled.

    Raises `KeyError` if a model that was called has no price.
    """
    calls = tuple(call_cost(models[call.model], call.answer) for call in run.calls)
    look_up = Cost(run.precheck.flops) if run.precheck else Cost()
    scoring = scoring_cost(result.scores for result in run.results) + look_up
    total = sum(calls, scoring)
    estimated = any(call.answer.estimated for call in run.calls)
    alone = _target_only(run, outcome, models)
    unneeded = [cost for call, cost in zip(run.calls, calls, strict=True) if call.wasted]
    wasted = sum(unneeded, Cost()) if unneeded else None
    return Charges(calls, scoring, RequestCost(total.flops, total.usd, total.device_s, estimated, alone, wasted))


def _target_only(run: Run, outcome: Outcome | None, models: Mapping[str, ModelCost]) -> EstimatedCost | None:
    if outcome is None or not isinstance(outcome.answer, Generation):
        return None
    return target_only(outcome, run.target, models[run.target], run.speeds.get(run.target) or Speed())
