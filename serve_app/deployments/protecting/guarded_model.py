"""A model that is asked only while it has room, and not while it is left out for its failures."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from math import inf
from time import monotonic

from serve_app.core.protocols import Model
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.prompt import Prompt
from serve_app.deployments.protecting.circuit_breaker import CircuitBreaker
from serve_app.deployments.protecting.load import Load, Permit


class GuardedModel:
    """The core's `Model` over another one, with the load and the breaker of its deployment.

    `permit` is the one of the first call, which has it already; every other call acquires its own, if there is room.
    """

    def __init__(self, model: Model, load: Load, breaker: CircuitBreaker, permit: Permit | None = None) -> None:
        self._model = model
        self._load = load
        self._breaker = breaker
        self._permit = permit

    def with_permit(self, permit: Permit) -> "GuardedModel":
        """Return the same model for one request, whose first call has this permit."""
        return GuardedModel(self._model, self._load, self._breaker, permit)

    async def generate(self, prompt: Prompt) -> Answer:
        if (refusal := self._refusal()) is not None:
            return refusal
        with self._call(prompt) as observe:
            answer = await self._model.generate(prompt)
            observe(answer)
        return answer

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        if (refusal := self._refusal()) is not None:
            yield refusal
            return
        with self._call(prompt) as observe:
            async with aclosing(self._model.stream(prompt)) as items:
                async for item in items:
                    observe(item)
                    yield item

    def _refusal(self) -> Failure | None:
        if (left_s := self._breaker.left_s) is not None:
            message = f"Left out after {self._breaker.failures} failures in a row; tried again within {left_s:.0f} s."
            return Failure("unavailable", message, retry_after_s=max(1.0, left_s))
        if self._load.full and self._held_permit() is None:
            message = f"It has {self._load.in_progress} requests, as many as may wait for it."
            return Failure("rate_limited", message, retry_after_s=self._load.retry_after_s)
        return None

    def _held_permit(self) -> Permit | None:
        return self._permit if self._permit is not None and self._permit.is_held else None

    @contextmanager
    def _call(self, prompt: Prompt) -> Iterator[Callable[[Delta | Answer], None]]:
        """Hold a permit for the body, which passes on what it sees of the answer."""
        started = monotonic()
        key = None if self._permit is None else self._permit.key
        with _released(self._held_permit() or self._load.acquire(key)), self._breaker.trial() as trial:

            def observe(item: Delta | Answer) -> None:
                trial.report(works(item))
                if isinstance(item, Generation):
                    self._load.answered(item.latency_s)

            try:
                yield observe
            finally:
                # The cascade gives up on a replica that hangs by cancelling the call, as it does if a client leaves.
                if trial.works is None and monotonic() - started >= _late_after_s(prompt):
                    trial.report(False)


def _late_after_s(prompt: Prompt) -> float:
    """Return after how many seconds a stopped call was late: a little less, as the tier's clock began before."""
    limits = [prompt.timeout_s, None if prompt.patience_s is None else 0.9 * prompt.patience_s]
    return min((limit for limit in limits if limit is not None), default=inf)


@contextmanager
def _released(permit: Permit) -> Iterator[None]:
    try:
        yield
    finally:
        permit.release()


def works(item: Delta | Answer) -> bool | None:
    """Return whether an answer, or a piece of it, shows that its model works; None if it shows neither.

    A timeout or an error in the middle of an answer shows neither: the request itself may have caused it.
    """
    if not isinstance(item, Failure):
        return True
    if item.kind == "unavailable":
        return False
    if item.kind in ("timeout", "error"):
        return None if item.completion_tokens and not item.estimated else False
    return True if item.kind in ("invalid_output", "refused", "context_length") else None
