"""A cascade with each of its remedies off and on, timed on recorded answers by the core that serves it."""

from collections.abc import Sequence
from statistics import fmean, median

import numpy as np

from serve_app.core.cost import Cost
from serve_app.core.types.policy import Tier
from serve_app.errors import UsageError
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.timing.requests import ServedCascade, TimedRequest, TimedRequests
from serve_app.evaluation.evaluate.remedies.results import Remedies, RemedyResult
from serve_app.evaluation.evaluate.remedies.variants import (
    CONFIGURED,
    WITHOUT,
    Variant,
    changed,
    configured,
    without_remedies,
)
from serve_app.evaluation.statistics.curves import Integers

MOST = 2000
"""Examples that are served in each way; of more an even sample."""
WARM_UP = 200
"""Number of fit examples from which speculation learns first: as many as it remembers."""


def judge(view: CascadeView) -> Remedies:
    """Serve the test examples in several ways, in the order of the hashes of their ids.

    Raises UsageError if a model's latencies are unknown.
    """
    unknown = [model for tier in view.tiers for model in tier.models if "latency_s" not in view.cost(model)]
    if unknown:
        raise UsageError(
            f"--remedies: the records have no latencies of {', '.join(dict.fromkeys(unknown))}, as imported ones have "
            "none; cascade collect measures them."
        )
    config = view.dataset.config
    bench = _Bench(view)
    configured_cascade = configured(config, view.id, view.tiers)
    plain = without_remedies(configured_cascade)
    without = bench.serve(plain)
    target = bench.serve(ServedCascade((Tier((view.target,), timeout_s=view.tiers[-1].timeout_s),)))
    variants, notes = changed(config, view.id, configured_cascade, median(request.first_tier_s for request in without))
    if configured_cascade != plain:
        variants = [
            Variant(CONFIGURED, configured_cascade),
            *(variant for variant in variants if variant.served != plain),
        ]
    served = [(WITHOUT if configured_cascade != plain else f"{CONFIGURED}, {WITHOUT}", without)]
    served += [(variant.name, bench.serve(variant.served)) for variant in variants]
    return Remedies(
        requests=len(without),
        warm_up=len(bench.warm_up),
        target_alone=bench.result(f"{view.target} alone", target, without),
        rows=tuple(bench.result(name, requests, without) for name, requests in served),
        notes=tuple(notes),
    )


class _Bench:
    """The examples that are served, and their results."""

    def __init__(self, view: CascadeView) -> None:
        self._view = view
        self._index = self._sample(view.test, MOST)
        self.warm_up = self._sample(view.fit, WARM_UP)
        answers = view.dataset.replay.answers(view.target)
        self._target_tokens = sum(answers[k].completion_tokens for k in self._index)

    def _sample(self, index: Integers, most: int) -> list[int]:
        ordered = index[np.argsort(self._view.dataset.shares[index], kind="stable")]
        return [int(k) for k in ordered[:most]]

    def serve(self, served: ServedCascade) -> list[TimedRequest]:
        return TimedRequests(self._view.dataset, served).run(self._index, self.warm_up)

    def result(self, name: str, requests: Sequence[TimedRequest], without: Sequence[TimedRequest]) -> RemedyResult:
        """Return the result of the requests, compared with the same requests without remedies."""
        seconds = np.array([request.seconds for request in requests])
        late = seconds[[request.to_target for request in without]]
        models = [request.model for request in requests]
        tokens = sum(request.wasted_target_tokens for request in requests)
        return RemedyResult(
            name=name,
            mean_s=float(seconds.mean()),
            p50_s=float(np.quantile(seconds, 0.5)),
            p95_s=float(np.quantile(seconds, 0.95)),
            deferred_p95_s=float(np.quantile(late, 0.95)) if len(late) else None,
            to_target=fmean(request.to_target for request in requests),
            quality=fmean(
                0.0 if model is None else float(self._view.quality(model)[k])
                for model, k in zip(models, self._index, strict=True)
            ),
            changed=sum(model != request.model for model, request in zip(models, without, strict=True)),
            cost=_mean([request.cost for request in requests]),
            wasted=_mean([request.wasted for request in requests]),
            wasted_target_tokens=tokens / max(1, self._target_tokens),
        )


def _mean(costs: Sequence[Cost]) -> dict[Unit, float | None]:
    columns: dict[Unit, list[float | None]] = {
        "flops": [cost.flops for cost in costs],
        "usd": [cost.usd for cost in costs],
        "device_s": [cost.device_s for cost in costs],
    }
    return {unit: _mean_if_known(values) for unit, values in columns.items()}


def _mean_if_known(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None and not np.isnan(value)]
    return fmean(numbers) if len(numbers) == len(values) else None
