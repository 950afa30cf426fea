"""The comparison of one tier's answers, pair by pair as they arrive, and what it decides."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from serve_app.core.deciding.agreement import Survivors, agree, compared, confide, survivors
from serve_app.core.deciding.deferral import decide, decide_early, standing_in, worth_comparing
from serve_app.core.deciding.early import settled, worth_scoring
from serve_app.core.protocols import Scorer
from serve_app.core.types.answer import Answer
from serve_app.core.types.outcome import Call, Force, TierResult
from serve_app.core.types.policy import Agreement, Decision, Tier
from serve_app.core.types.scores import Scores
from serve_app.errors import CascadeError


@dataclass(frozen=True, slots=True)
class Verdict:
    """A tier's decision, and the answers that it was taken on.

    `bounds` are those of the agreement if it was taken before all answers had arrived; no output score is final then.
    """

    alive: Survivors
    judged: Agreement
    decision: Decision
    scores: Scores | None = None
    scorer_error: str | None = None
    bounds: tuple[float, float] | None = None

    def result(self, tier: Tier, calls: tuple[Call, ...]) -> TierResult:
        """Return the result of the tier whose answers were compared, or of its stand-in."""
        return TierResult(
            tier=tier if self.alive.tier.stands_in_for is None else self.alive.tier,
            calls=calls,
            decision=self.decision,
            judged=self.judged,
            scores=self.scores,
            compared=self.alive.texts if tier.compare else (),
            scorer_error=self.scorer_error,
            bounds=self.bounds,
        )


class Comparison:
    """The similarities of a tier's answers so far, and what they have cost.

    `early` is the verdict if it was settled before all answers had arrived; `scoring_s` is how long the scorer took, in
    seconds of the `clock`. `lexical` compares in place of a `scorer` that fails, if the tier has a signal for that. One
    that has failed is not asked again: it may be away, and would cost the request its time limit once more.
    """

    def __init__(self, tier: Tier, scorer: Scorer, clock: Callable[[], float], lexical: Scorer | None = None) -> None:
        self.early: Verdict | None = None
        self.scoring_s = 0.0
        self._tier = tier
        self._scorer = scorer
        self._lexical = lexical
        self._clock = clock
        self._texts: dict[int, str] = {}
        self._scored: list[int] = []
        self._error: str | None = None
        self._values: dict[tuple[int, int], float] = {}
        self._spent = Scores(())

    @property
    def spent(self) -> Scores | None:
        """Return what comparisons have cost so far, without their similarities; None if there were none."""
        return self._spent if self._scored else None

    async def settle(self, answers: Sequence[Answer | None], missing: Collection[int]) -> bool:
        """Return whether the tier need not wait for the answers of its models `missing`, and keep the verdict if so.

        Answers that the scorer fails to compare settle nothing.
        """
        alive = self._survivors(answers)
        scores = await self._scores(alive) if worth_scoring(alive, missing) else None
        settlement = settled(alive, missing, None if scores is None else scores.similarities)
        if settlement is None or not (settlement.selection or self._tier.early == "decision"):
            return False
        self.early = Verdict(
            alive,
            Agreement(alive.indices, (None,) * len(self._tier.models), None, settlement.selected),
            decide_early(self._tier, settlement.accepted, settlement.selected),
            scores,
            bounds=(settlement.lowest, settlement.highest),
        )
        return True

    async def verdict(self, answers: Sequence[Answer], force: Force | None) -> Verdict:
        """Compare all answers and return what they decide."""
        tier, alive = self._tier, self._survivors(answers)
        scores = None
        if tier.confidence and tier.token_level:
            judged = confide(alive, tier.confidence)
        else:
            comparable = worth_comparing(alive) is not None
            scores = await self._scores(alive) if comparable else None
            if comparable and scores is None and (verdict := await self._standing_in(alive, force)) is not None:
                return verdict
            judged = agree(alive, None if scores is None else scores.similarities)
        return Verdict(alive, judged, decide(tier, judged, force), scores, self._error)

    async def _standing_in(self, alive: Survivors, force: Force | None) -> Verdict | None:
        """Return the decision by the tier's stand-in signal, or None if there is none or it fails as well."""
        tier = standing_in(self._tier)
        if tier is None or tier.signal is None or self._lexical is None:
            return None
        try:
            scores = await self._timed(self._lexical, tier.signal, alive.texts)
        except CascadeError:
            return None
        alive = replace(alive, tier=tier)
        judged = agree(alive, scores.similarities)
        spent = replace(_sum(self._spent, scores), similarities=scores.similarities)
        return Verdict(alive, judged, decide(tier, judged, force), spent, self._error)

    def _survivors(self, answers: Sequence[Answer | None]) -> Survivors:
        """Return those of the tier's answers that are compared; what the signal sees of each is worked out once."""
        if not self._tier.token_level:
            for index, answer in enumerate(answers):
                if answer is not None and index not in self._texts:
                    self._texts[index] = compared(answer, self._tier.compare)
        return survivors(self._tier, answers, [self._texts.get(index, "") for index in range(len(answers))])

    async def _scores(self, alive: Survivors) -> Scores | None:
        """Return the similarities of the survivors, in their order, or None if the scorer has failed.

        Only pairs with a new answer are computed.
        """
        new = [i for i in alive.indices if i not in self._scored]
        try:
            if new and self._error is None:
                await self._score(new)
        except CascadeError as failure:
            self._error = str(failure)
        if self._error is not None:
            return None
        rows = tuple(tuple(self._values[i, j] for j in alive.indices) for i in alive.indices)
        return replace(self._spent, similarities=rows)

    async def _score(self, new: Sequence[int]) -> None:
        assert self._tier.signal is not None
        since, indices = len(self._scored), [*self._scored, *new]
        more = (since,) if since else ()
        scores = await self._timed(self._scorer, self._tier.signal, [self._texts[i] for i in indices], *more)
        for row, i in enumerate(indices):
            for column, j in enumerate(indices):
                if max(row, column) >= since:
                    self._values[i, j] = scores.similarities[row][column]
        self._scored = indices
        self._spent = _sum(self._spent, scores)

    async def _timed(self, scorer: Scorer, signal: str, texts: Sequence[str], *since: int) -> Scores:
        """Return the scorer's result, and count its seconds. Raises what it raises."""
        started = self._clock()
        try:
            return await scorer.score(signal, list(texts), *since)
        finally:
            self.scoring_s += self._clock() - started


def _sum(spent: Scores, scores: Scores) -> Scores:
    """Return what two comparisons have cost together, without their similarities."""
    return Scores(
        (),
        spent.flops + scores.flops,
        spent.device_s + scores.device_s,
        spent.truncated_pairs + scores.truncated_pairs,
    )
