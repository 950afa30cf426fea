"""The effect of the remedies on recorded answers, as frozen results."""

from collections.abc import Mapping
from dataclasses import dataclass

from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.json_values import Result


@dataclass(frozen=True, slots=True)
class RemedyResult(Result):
    """A cascade served in one way, on the test examples.

    `deferred_p95_s`: of the requests that get to the target without remedies, None if there are none. `to_target`: the
    share that gets there. `changed`: how many requests get another model's answer than without remedies. `cost`: the
    mean of a request, None if unknown; `wasted`: the part of it for calls that were made ahead and not needed, and
    `wasted_target_tokens` the target's completion tokens in it, as a share of those that it writes alone.
    """

    name: str
    mean_s: float
    p50_s: float
    p95_s: float
    deferred_p95_s: float | None
    to_target: float
    quality: float
    changed: int
    cost: Mapping[Unit, float | None]
    wasted: Mapping[Unit, float | None]
    wasted_target_tokens: float


@dataclass(frozen=True, slots=True)
class Remedies(Result):
    """The target alone, and a cascade served in several ways; `notes`: what could not be tried, in sentences."""

    requests: int
    warm_up: int
    target_alone: RemedyResult
    rows: tuple[RemedyResult, ...]
    notes: tuple[str, ...]
