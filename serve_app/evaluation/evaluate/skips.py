"""A cascade's `skip` on records: what it would do to quality and cost. No example is its own neighbour."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serve_app.core.deciding.skip import SkipPolicy
from serve_app.core.types.answer import Failure
from serve_app.core.types.outcome import Precheck
from serve_app.evaluation.analysis.candidates import Candidate
from serve_app.evaluation.analysis.cascade_view import CascadeView, recorded
from serve_app.evaluation.analysis.costs import UNITS, Unit
from serve_app.evaluation.analysis.json_values import Result
from serve_app.evaluation.analysis.past.requests import PastRequests, with_verdict
from serve_app.evaluation.statistics.bootstrap import Interval, Resampled, Statistic, bootstrap, mean_of
from serve_app.evaluation.statistics.curves import Floats
from serve_app.evaluation.statistics.pareto import outcome

SHARES = (0.6, 0.7, 0.8, 0.9)
"""Limits that are tried beside the config's own."""


@dataclass(frozen=True, slots=True)
class SkipRow(Result):
    """A setting of `skip` on the test examples; both limits None: the cascade without it.

    `deferred` and `accepted`: the shares that go straight to the target, and to the member; `cost`: by unit, as a share
    of the target's mean; `less_without` and `cost_less_without`: the differences to the cascade without it, paired.
    """

    defer_above: float | None
    accept_above: float | None
    deferred: Interval
    accepted: Interval
    quality: Interval
    less_without: Interval
    cost: Mapping[Unit, Interval]
    cost_less_without: Mapping[Unit, Interval]


@dataclass(frozen=True, slots=True)
class SkipResult(Result):
    """A cascade's `skip` under the config's thresholds: without it, as configured, and with other limits."""

    encoder: str
    k: int
    member: str
    thresholds: tuple[float, ...]
    past_requests: int
    rows: tuple[SkipRow, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Setting:
    """What a setting does on the n examples: (n,) arrays, costs by unit."""

    policy: SkipPolicy
    deferred: Floats
    accepted: Floats
    quality: Floats
    costs: Mapping[Unit, Floats]


def skip_result(view: CascadeView, past: PastRequests) -> SkipResult:
    """Return what a cascade's `skip` does on the test examples; their neighbours are of all examples."""
    cascade = view.dataset.config.cascades[view.id]
    policy = cascade.skip_policy()
    assert cascade.skip is not None
    assert policy is not None
    settings = list(_settings(view, past, policy))
    statistics: dict[tuple[str, int], Statistic] = {}
    for number, setting in enumerate(settings):
        columns = {"deferred": setting.deferred, "accepted": setting.accepted, "quality": setting.quality}
        shares = {unit: cost / view.target_cost[unit][view.test].mean() for unit, cost in setting.costs.items()}
        statistics |= {(name, number): mean_of(column[view.test]) for name, column in (columns | shares).items()}
    options = view.dataset.options
    resampled = bootstrap(statistics, len(view.test), resamples=options.resamples, seed=options.seed)
    return SkipResult(
        encoder=cascade.skip.encoder,
        k=policy.k,
        member=policy.member,
        thresholds=tuple(tier.threshold for tier in view.tiers[:-1]),
        past_requests=len(past.index),
        rows=tuple(_row(number, setting, resampled) for number, setting in enumerate(settings)),
    )


def _row(number: int, setting: _Setting, resampled: Resampled[tuple[str, int]]) -> SkipRow:
    return SkipRow(
        setting.policy.defer_above,
        setting.policy.accept_above,
        resampled.interval(("deferred", number)),
        resampled.interval(("accepted", number)),
        resampled.interval(("quality", number)),
        resampled.difference(("quality", number), ("quality", 0)),
        {unit: resampled.interval((unit, number)) for unit in setting.costs},
        {unit: resampled.difference((unit, number), (unit, 0)) for unit in setting.costs},
    )


def _settings(view: CascadeView, past: PastRequests, policy: SkipPolicy) -> Iterator[_Setting]:
    """Yield the cascade without `skip`, with it as configured, and with each limit alone."""
    thresholds = tuple(tier.threshold for tier in view.tiers[:-1])
    plain = _plain(view, policy, thresholds)
    yield plain
    limits = [(policy.defer_above, policy.accept_above)]
    if view.dataset.config.cascades[view.id].on_target_failure == "error":  # else a config may not have defer_above
        limits += ((share, None) for share in SHARES)
    limits += ((None, share) for share in SHARES)
    for defer_above, accept_above in dict.fromkeys(limits):
        variant = replace(policy, defer_above=defer_above, accept_above=accept_above)
        yield _skipping(view, past, plain, variant, past.prechecks(variant, thresholds))


def _plain(view: CascadeView, policy: SkipPolicy, thresholds: Sequence[float]) -> _Setting:
    config, replay = view.dataset.config, view.dataset.replay
    candidates = []
    for tier in view.tiers[:-1]:
        assert tier.signal is not None
        chow = config.confidence_of(tier.signal)
        candidates.append(Candidate("semantic", replay.score(tier, chow, view.group.index), chow))
    nothing = np.zeros(len(view.dataset))
    member = view.cost(policy.member)
    costs = {unit: columns for unit, columns in view.tier_costs(view.tiers[:-1]).items() if unit in member}
    free = outcome(*recorded(view, candidates, [nothing] * len(view.tiers)), thresholds)
    return _Setting(
        replace(policy, defer_above=None, accept_above=None),
        nothing,
        nothing,
        free.quality,
        {unit: outcome(*recorded(view, candidates, columns), thresholds).cost for unit, columns in costs.items()},
    )


def _skipping(
    view: CascadeView, past: PastRequests, plain: _Setting, policy: SkipPolicy, prechecks: Sequence[Precheck]
) -> _Setting:
    """Return the outcome of the examples under the prechecks.

    If the member failed on one, or its answer is empty, the example's cascade runs, as it does online.
    """
    answers = view.dataset.replay.answers(policy.member)
    failed = np.array([isinstance(answer, Failure) or answer.empty for answer in answers])
    deferred, accepted = with_verdict(prechecks, "deferred"), with_verdict(prechecks, "accepted") & ~failed
    conditions = [deferred, accepted]
    member, target = view.cost(policy.member), view.cost(view.target)
    # As online, where neither dollars nor device-seconds of the scorer are charged for an embedding.
    look_up = {unit: np.zeros(len(deferred)) for unit in UNITS}
    look_up |= {"flops": past.flops, "latency_s": np.full(len(deferred), past.embedding_s)}
    return _Setting(
        policy,
        deferred.astype(np.float64),
        accepted.astype(np.float64),
        np.select(conditions, [view.quality(view.target), view.quality(policy.member)], plain.quality),
        {
            unit: np.select(conditions, [target[unit], member[unit]], cost) + look_up[unit]
            for unit, cost in plain.costs.items()
        },
    )
