"""How a request went: its calls, the results of its tiers, its end. All frozen."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.core.types.policy import Agreement, Decision, Reason, ShedBy, Tier
from serve_app.core.types.scores import Scores

Force: TypeAlias = Literal["accept", "defer"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a request may cost, in US dollars and FLOPs, and the seconds that it may take; None: no limit.

    `seconds_field` is the name by which the client limited the seconds, for errors.
    """

    usd: float | None = None
    flops: float | None = None
    seconds: float | None = None
    seconds_field: str = "cascade.max_latency_s"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one model. A cancelled call has a `Failure`, so that its tokens are charged too.

    `wasted`: it was made before it was known to be needed, and was not.
    """

    model: str
    answer: Answer
    wasted: bool = False


@dataclass(frozen=True, slots=True)
class TierResult:
    """One tier's answers and the decision on them.

    `compared` are the texts that the scorer saw, and `scores` has their similarities: those of the survivors alone, in
    the order of `judged.survivors`; none if the comparison was given up after it had cost something. Without a view of
    the tier `compared` is empty: the texts are the answers.
    `carried` are the tier's models that an earlier tier had asked, whose answers are free.
    `bounds` are those of the agreement if the tier was decided before all of its answers had arrived.
    Times are in seconds; `elapsed_s` runs from the first model call to the decision; `scoring_s` is the part spent
    waiting for the scorer.
    """

    tier: Tier
    calls: tuple[Call, ...]
    decision: Decision
    judged: Agreement | None = None
    scores: Scores | None = None
    compared: tuple[str, ...] = ()
    scorer_error: str | None = None
    bounds: tuple[float, float] | None = None
    carried: tuple[str, ...] = ()
    elapsed_s: float = 0.0
    scoring_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Precheck:
    """What past requests like this one say, before any model is asked; without a verdict the cascade runs.

    `share` of the `neighbours` was deferred. If nearly all were, so is the request, to the target; if nearly none was,
    `member` alone is asked. `flops` is what the look-up cost; `failed`: there was none, or none in time.
    """

    verdict: Literal["deferred", "accepted"] | None
    neighbours: int = 0
    share: float | None = None
    member: str | None = None
    flops: float = 0.0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Shed:
    """The request was decided under pressure: by lower thresholds, or by members alone.

    `pressure` is the share of the target's queue that was taken; `calibration` the id of the one
    that the lower thresholds come from, or None.
    """

    by: ShedBy
    pressure: float
    calibration: str | None = None


@dataclass(frozen=True, slots=True)
class Cached:
    """How an answer came without a run of its own: it was kept `age_s` seconds ago, or `shared` while it was made."""

    age_s: float
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a request: the answer (or the last failure), the model that gave it, and every tier that ran.

    `replaced` is the target's failure if the cascade returned the best member answer instead. `escalated`: only the
    target was asked, because the request's conversation had been deferred before. `skipped` is why the request went
    straight to the model that answered. `further_answers` are of the
    same model, if the request wants several. `cached` is set if all but `total_s` is an equal request's: the run itself
    then has neither calls nor results.
    """

    answer: Answer
    answered_by: str
    tiers: tuple[TierResult, ...]
    total_s: float
    replaced: Failure | None = None
    escalated: bool = False
    skipped: Precheck | None = None
    further_answers: tuple[Generation, ...] = ()
    cached: Cached | None = None

    @property
    def returned(self) -> tuple[Generation, ...]:
        """Return all answers that go back to the client: none after a failure."""
        return (self.answer, *self.further_answers) if isinstance(self.answer, Generation) else ()

    @property
    def deferred(self) -> bool:
        """Return whether the first tier's answers were not accepted, or not asked for (a single tier never defers)."""
        if self.skipped is not None:
            return self.skipped.verdict == "deferred"
        return self.escalated or len(self.tiers) > 1

    @property
    def reason(self) -> Reason:
        """Return why the first tier's answers were accepted or not."""
        if self.skipped is not None:
            return "skipped"
        return "session" if self.escalated else self.tiers[0].decision.reason
