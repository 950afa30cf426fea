"""The decision record: everything that led to an answer, in one object for client, log, metrics and spans."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from serve_app.core.charges import Charges, RequestCost
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Generation
from serve_app.core.types.outcome import Cached, Call, Outcome, Precheck, Shed, TierResult
from serve_app.core.types.policy import Tier


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A tool call without its id. `arguments` is JSON as the model wrote it."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """What one model of a tier answered. `compared` is what its signal saw of it, if the tier has a view."""

    text: str
    tool_calls: tuple[FunctionCall, ...] = ()
    reasoning: str = ""
    compared: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """How a tier's answers are compared and selected; the values are those of `Tier`."""

    agreement: str
    direction: str
    select: str | None
    min_answers: int
    truncated: str


@dataclass(frozen=True, slots=True)
class TierDecision:
    """A tier's decision. `similarities` (n x n) and `output_scores` (n) run over the tier's n models.

    A number is None if the answer did not survive, or if JSON cannot express it (NaN, infinities). A tier that was
    decided before all of its answers had arrived has `agreement_bounds` in place of the agreement. `instead_of` is the
    tier's own signal, if its scorer failed and `signal` stood in.
    """

    signal: str | None
    policy: Policy | None
    similarities: tuple[tuple[float | None, ...], ...] | None
    output_scores: tuple[float | None, ...]
    agreement: float | None
    threshold: float | None
    accepted: bool
    reason: str
    selected: str | None
    agreement_bounds: tuple[float | None, float | None] | None = None
    instead_of: str | None = None


@dataclass(frozen=True, slots=True)
class TierRecord:
    """One tier that ran. The target has no `decision`; `answers` (None for a failure) are there only on request.

    `carried` are those of the `models` whose answers are an earlier tier's, and free.
    """

    models: tuple[str, ...]
    decision: TierDecision | None = None
    truncated_pairs: int = 0
    scorer_error: str | None = None
    carried: tuple[str, ...] = ()
    answers: tuple[AnswerRecord | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A model's call, or its `calls` if it answered more than once: tokens and `latency_s` are then sums.

    `status` is `ok` or the kind of (the first) failure, which `message` describes. Times are in seconds.
    """

    status: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_s: float = 0.0
    estimated: bool = False
    finish_reason: str | None = None
    first_token_s: float | None = None
    message: str | None = None
    calls: int = 1


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds for each tier, for all scoring, and for the whole request (None if it was cancelled)."""

    tiers: tuple[float, ...] = ()
    scoring: float = 0.0
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """The failure of the last tier, or why it was not asked; the best member answer stands in for it."""

    model: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """The record of one request. `deferred` and `answered_by` are None if it was cancelled or failed.

    `calibration` is the id of the calibration that the thresholds come from, or None. The `tiers` of a `cached`
    answer are those that it was decided by; for this request nothing was called. `caller` is the name of the API key.
    `skipped` is why one model was asked alone, without a decision; `shed` says that it was decided under pressure.
    """

    id: str
    deferred: bool | None
    answered_by: str | None
    reason: str
    tiers: tuple[TierRecord, ...]
    models: Mapping[str, CallRecord]
    cost: RequestCost
    timings: Timings
    calibration: str | None = None
    replaced: Replacement | None = None
    cached: Cached | None = None
    caller: str | None = None
    skipped: Precheck | None = None
    shed: Shed | None = None

    def without_answers(self) -> "DecisionRecord":
        """Return the same record without any text that a model wrote as an answer."""
        return replace(self, tiers=tuple(replace(tier, answers=None) for tier in self.tiers))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens over all models that were called; `reasoning_tokens` are a part of the `completion_tokens`."""

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Return the tokens read and written."""
        return self.prompt_tokens + self.completion_tokens


def usage(calls: Iterable[Call]) -> Usage:
    """Sum the tokens of all calls, failed and cancelled ones included."""
    answers = [call.answer for call in calls]
    return Usage(
        sum(answer.prompt_tokens for answer in answers),
        sum(answer.completion_tokens for answer in answers),
        sum(answer.reasoning_tokens for answer in answers if isinstance(answer, Generation)),
    )


def reported_calls(run: Run, outcome: Outcome) -> Sequence[Call]:
    """Return the calls whose tokens are reported to a client: all, or for a cached answer those that made it."""
    if outcome.cached is None:
        return run.calls
    return [Call(outcome.answered_by, answer) for answer in outcome.returned]


def decision_record(
    cascade: str,
    run: Run,
    outcome: Outcome | None,
    charges: Charges,
    *,
    answers: bool = False,
    calibration: str | None = None,
) -> DecisionRecord:
    """Build the record of a finished request, or of a cancelled one (`outcome` is None).

    `charges` are the run's. `answers` includes the models' texts and tool calls. `calibration` is the id of the
    calibration that the thresholds come from.
    """
    return DecisionRecord(
        id=cascade,
        deferred=outcome.deferred if outcome else None,
        answered_by=outcome.answered_by if outcome and isinstance(outcome.answer, Generation) else None,
        reason=outcome.reason if outcome else "cancelled",
        tiers=tuple(tier_record(result, answers) for result in (outcome.tiers if outcome else run.results)),
        models=_models(run.calls),
        cost=charges.request,
        timings=Timings(
            tuple(result.elapsed_s for result in run.results),
            sum(result.scoring_s for result in run.results),
            outcome.total_s if outcome else None,
        ),
        calibration=calibration,
        replaced=_replacement(outcome),
        cached=outcome.cached if outcome else None,
        caller=run.caller,
        skipped=outcome.skipped if outcome else None,
        shed=run.shed,
    )


def _replacement(outcome: Outcome | None) -> Replacement | None:
    if outcome is None or outcome.replaced is None:
        return None
    return Replacement(outcome.tiers[-1].tier.models[0], outcome.replaced.kind, outcome.replaced.message)


def tier_record(result: TierResult, answers: bool) -> TierRecord:
    """Return the record of a tier that has ended; `answers`: whether it includes what its models answered."""
    return TierRecord(
        result.tier.models,
        _decision(result),
        result.scores.truncated_pairs if result.scores else 0,
        result.scorer_error,
        result.carried,
        _answers(result) if answers else None,
    )


def _decision(result: TierResult) -> TierDecision | None:
    if result.judged is None:
        return None
    tier, decision = result.tier, result.decision
    return TierDecision(
        signal=tier.signal,
        policy=_policy(tier),
        similarities=_matrix(result),
        output_scores=tuple(map(_finite, result.judged.output_scores)),
        agreement=_finite(decision.agreement),
        threshold=decision.threshold,
        accepted=decision.accepted,
        reason=decision.reason,
        selected=None if decision.selected is None else tier.models[decision.selected],
        agreement_bounds=None if result.bounds is None else (_finite(result.bounds[0]), _finite(result.bounds[1])),
        instead_of=tier.stands_in_for,
    )


def _policy(tier: Tier) -> Policy:
    return Policy(tier.agreement, tier.direction, tier.select, tier.min_answers, tier.truncated)


def _matrix(result: TierResult) -> tuple[tuple[float | None, ...], ...] | None:
    """Return the similarities in the order of the tier's models, None for each answer that did not survive."""
    if result.scores is None or not result.scores.similarities or result.judged is None:
        return None
    n = len(result.tier.models)
    matrix: list[list[float | None]] = [[None] * n for _ in range(n)]
    for row, i in enumerate(result.judged.survivors):
        for column, j in enumerate(result.judged.survivors):
            matrix[i][j] = _finite(result.scores.similarities[row][column])
    return tuple(map(tuple, matrix))


def _answers(result: TierResult) -> tuple[AnswerRecord | None, ...]:
    survivors = result.judged.survivors if result.judged and result.compared else ()
    compared = dict(zip(survivors, result.compared, strict=True))
    return tuple(_answer(call.answer, compared.get(i)) for i, call in enumerate(result.calls))


def _answer(answer: Answer, compared: str | None) -> AnswerRecord | None:
    if not isinstance(answer, Generation):
        return None
    calls = tuple(FunctionCall(call.name, call.arguments) for call in answer.tool_calls)
    return AnswerRecord(answer.text, calls, answer.reasoning, compared)


def _models(calls: Iterable[Call]) -> dict[str, CallRecord]:
    models: dict[str, CallRecord] = {}
    for call in sorted(calls, key=lambda call: call.wasted):
        record = call_record(call.answer)
        earlier = models.get(call.model)
        models[call.model] = record if earlier is None else _summed(earlier, record, further_wasted=call.wasted)
    return models


def _summed(first: CallRecord, further: CallRecord, *, further_wasted: bool) -> CallRecord:
    """Add a further call's tokens and seconds; how one ended that was made ahead does not count."""
    failed = further if first.status == "ok" and not further_wasted else first
    return replace(
        first,
        status=failed.status,
        message=failed.message,
        prompt_tokens=first.prompt_tokens + further.prompt_tokens,
        completion_tokens=first.completion_tokens + further.completion_tokens,
        latency_s=first.latency_s + further.latency_s,
        estimated=first.estimated or further.estimated,
        calls=first.calls + 1,
    )


def call_record(answer: Answer) -> CallRecord:
    """Return the record of one call."""
    counts = (answer.prompt_tokens, answer.completion_tokens, answer.latency_s, answer.estimated)
    if isinstance(answer, Generation):
        return CallRecord("ok", *counts, answer.finish_reason, answer.first_token_s)
    return CallRecord(answer.kind, *counts, message=answer.message)


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
