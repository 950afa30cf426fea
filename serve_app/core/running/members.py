"""The members of a tier: asked all at once, and waited for as long as the tier can still accept something."""

from collections.abc import Collection

from serve_app.core.deciding.deferral import Prospects
from serve_app.core.running.calls import CANCELLED, Calls, Key
from serve_app.core.running.comparison import Comparison
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Failure
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt

_LOST = Failure("cancelled", "Stopped: the other models' answers, or failures, leave nothing to accept in this tier.")
_REFUSED = Failure("cancelled", "Stopped: another model refused the request.")
_ENOUGH = Failure("cancelled", "Stopped: the tier had its quorum of answers.")
_SETTLED = Failure("cancelled", "Stopped: its answer could no longer change the tier's decision.")
_LATE = Failure("cancelled", "Stopped: the tier's time was over.")


def refused(answer: Answer | None) -> bool:
    """Return whether the model cannot do what the request asks for."""
    return isinstance(answer, Failure) and answer.kind == "refused"


async def ask(
    run: Run,
    calls: Calls,
    tier: Tier,
    prompts: list[tuple[Key, Prompt]],
    later: Collection[Key],
    comparison: Comparison,
) -> list[Answer]:
    """Return the answers of all models of the tier, in order; an earlier tier's are taken over.

    Calls that still run once the tier is settled are stopped, but for those that a `later` tier needs, too. If the
    `comparison` of the answers so far settles it, that has the decision.
    """
    keys = [key for key, _ in prompts]
    if _lost_before(run, calls, tier, keys):
        await calls.settle(keys, _LOST, later)
        return calls.answers(keys)
    arrivals, reason = _Arrivals(run, calls, tier, keys, comparison), CANCELLED
    try:
        if await arrivals.settled_before():
            reason = _SETTLED
        else:
            calls.start(prompts)
            reason = await arrivals.wait()
    finally:
        await calls.settle(keys, reason, () if reason in (CANCELLED, _REFUSED) else later)
    return calls.answers(keys)


def _lost_before(run: Run, calls: Calls, tier: Tier, keys: list[Key]) -> bool:
    """Return whether the answers of earlier tiers leave nothing to accept in this one."""
    prospects = Prospects(tier)
    for index, key in enumerate(keys):
        if (answer := calls.answered(key)) is not None:
            prospects.arrived(index, answer)
    return not (_waits_for_all(run, tier) or prospects.hopeful)


def _waits_for_all(run: Run, tier: Tier) -> bool:
    """Return whether answers are of use that do not agree: in the target's place, or because it accepts anything."""
    return tier.accepts_any or _needs_all(run)


def _needs_all(run: Run) -> bool:
    """Return whether each answer may be of use, even if the tier defers."""
    return run.fallback or run.force is not None or run.budget is not None


class _Arrivals:
    """The answers of a tier as they arrive, those of earlier tiers first.

    A quorum and the tier's own time limit hold even if every answer is of use.
    """

    def __init__(self, run: Run, calls: Calls, tier: Tier, keys: list[Key], comparison: Comparison) -> None:
        self._comparison = comparison
        self._waits_for_all = _waits_for_all(run, tier)
        self._may_settle = tier.may_settle_early and not _needs_all(run)
        self._calls = calls
        self._clock = run.clock
        self._keys = keys
        self._pending = keys
        self._prospects = Prospects(tier)
        self._refused = False
        self._limit_s = tier.tier_timeout_s

    async def settled_before(self) -> bool:
        """Return whether the answers of earlier tiers settle the decision, so that no other model need be called."""
        answers = [self._calls.answered(key) for key in self._keys]
        missing = [index for index, answer in enumerate(answers) if answer is None]
        carried = len(answers) - len(missing)
        return self._may_settle and carried > 0 and bool(missing) and await self._comparison.settle(answers, missing)

    async def wait(self) -> Failure:
        """Wait as long as the tier can accept something, and return why not longer.

        What a model raises is a bug, and raised again.
        """
        started = self._clock()
        while (reason := self._reason_to_stop()) is None:
            if self._may_settle and await self._settled():
                return _SETTLED
            left_s = None if self._limit_s is None else max(0.0, started + self._limit_s - self._clock())
            if not await self._calls.one_more(self._pending, left_s):
                return _LATE
        return reason

    def _reason_to_stop(self) -> Failure | None:
        """Look at the answers that have arrived, and return why no more are waited for, or None."""
        arrived = {key: answer for key in self._pending if (answer := self._calls.ended(key)) is not None}
        self._pending = [key for key in self._pending if key not in arrived]
        for key, answer in arrived.items():
            self._prospects.arrived(self._keys.index(key), answer)
        self._refused = self._refused or any(map(refused, arrived.values()))
        if self._refused:
            return _REFUSED
        if not self._pending or not (self._waits_for_all or self._prospects.hopeful):
            return _LOST
        return _ENOUGH if self._prospects.enough else None

    async def _settled(self) -> bool:
        answers = [None if key in self._pending else self._calls.ended(key) for key in self._keys]
        return await self._comparison.settle(answers, [self._keys.index(key) for key in self._pending])


async def ask_again(calls: Calls, prompts: list[tuple[Key, Prompt]]) -> list[Answer]:
    """Return further answers of one model, each to its own prompt; once one has failed, the others are stopped."""
    keys = [key for key, _ in prompts]
    calls.start(prompts)
    reason = CANCELLED
    try:
        while (pending := [key for key in keys if calls.ended(key) is None]) and not any(
            isinstance(calls.ended(key), Failure) for key in keys
        ):
            await calls.one_more(pending)
        reason = _LOST
    finally:
        await calls.settle(keys, reason)
    return calls.answers(keys)
