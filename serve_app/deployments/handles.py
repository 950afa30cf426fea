"""Deployment handles behind the core's Protocols: failures become data, and cancelling reaches the replica."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import replace
from time import monotonic
from typing import Any, TypeVar

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from serve_app.common.retries import RetryBudget, wait_s
from serve_app.core.types.answer import Answer, Delta, Failure
from serve_app.core.types.prompt import Prompt
from serve_app.core.types.scores import Embedding, Scores
from serve_app.deployments.protecting.circuit_breaker import CircuitBreaker, Trial
from serve_app.deployments.protecting.liveness import GoneError, Liveness
from serve_app.errors import SignalError

logger = logging.getLogger("ray.serve")

T = TypeVar("T")

CANCELLATION_LAG_S = 1.0
"""How long a request whose call Ray has cancelled waits to be cancelled itself: milliseconds if its client left."""


class ModelHandle:
    """A `PromptServer` somewhere in the cluster, as the core's `Model`: the model `name` itself, or its `adapter`.

    Options are applied once: each `options()` makes a new handle with background work of its own. With `retries` a call
    whose replica is lost before any of its answer has come is made once more, at another replica; its answer has the
    tokens of that second try alone.

    Both methods turn what Ray and Serve raise into a `Failure`: `unavailable` if the deployment has had no replica for
    too long, or the replica is lost; `rate_limited` if its queue is full; `error` if the replica raised.
    """

    def __init__(
        self,
        name: str,
        handle: DeploymentHandle[Any],
        liveness: Liveness,
        adapter: str | None = None,
        retries: RetryBudget | None = None,
    ) -> None:
        self._name = name
        self._retries = retries
        self._liveness = liveness
        self._arguments = {} if adapter is None else {"adapter": adapter}
        self._generate = handle.options(method_name="generate")
        self._stream = handle.options(method_name="stream", stream=True)

    async def generate(self, prompt: Prompt) -> Answer:
        again = _SecondTry(prompt, self._retries)
        while True:
            try:
                async with self._liveness.required(self._name):
                    answer: Answer = await _stopped_if_lost(self._generate.remote(prompt, **self._arguments))
            except (RayError, RayServeException, GoneError) as error:
                if (second := await again.after(error)) is None:
                    return self._failure(error)
                prompt = second
            else:
                return answer

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        again, begun = _SecondTry(prompt, self._retries), False
        while True:
            try:
                async with aclosing(self._streamed(prompt)) as items:
                    async for item in items:
                        begun = True
                        yield item
            except (RayError, RayServeException, GoneError) as error:
                second = None if begun else await again.after(error)
                if second is None:
                    yield self._failure(error)
                    return
                prompt = second
            else:
                return

    async def _streamed(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        """Yield what one replica sends. Raises what Ray raises, and `GoneError`."""
        response = self._stream.remote(prompt, **self._arguments)
        assert isinstance(response, DeploymentResponseGenerator)
        finished = False
        try:
            # Once a replica has begun, its death ends the stream by itself.
            async with self._liveness.required(self._name):
                item = await _own_cancellation_only(anext(response, None))
            while item is not None:
                yield item
                item = await _own_cancellation_only(anext(response, None))
            finished = True
        except (RayError, RayServeException) as error:
            finished = not isinstance(error, RayActorError)
            raise
        finally:
            if not finished:
                response.cancel()

    def _failure(self, error: Exception) -> Failure:
        if isinstance(error, GoneError):
            return Failure("unavailable", str(error))
        if isinstance(error, BackPressureError):
            return Failure("rate_limited", "It has more requests queued than it takes.", retry_after_s=1.0)
        logger.warning("Model %r failed: %s", self._name, error)
        if isinstance(error, RayTaskError):
            return Failure("error", "The model's replica failed; see its log.", uncounted=True)
        return Failure("unavailable", "The model's replica cannot be reached.", uncounted=True)


class _SecondTry:
    """Another try of a call whose replica was lost, within the budget and the prompt's time."""

    def __init__(self, prompt: Prompt, budget: RetryBudget | None) -> None:
        self._prompt = prompt
        self._budget = budget
        self._started = monotonic()
        if budget is not None:
            budget.called()

    async def after(self, error: Exception) -> Prompt | None:
        """Wait a moment, and return the prompt with the remaining time, or None if there is no other try."""
        budget, self._budget = self._budget, None
        wait = wait_s(0, random.random()) or 0.0
        limit_s = self._prompt.timeout_s
        left_s = None if limit_s is None else self._started + limit_s - monotonic() - wait
        late = left_s is not None and left_s <= 0
        if budget is None or not isinstance(error, RayActorError) or late or not budget.take():
            return None
        logger.warning("A replica was lost, and its call is made once more: %s", error)
        await asyncio.sleep(wait)
        return replace(self._prompt, timeout_s=left_s)


class ScorerHandle:
    """The `ScorerServer`s, as the core's `Scorer`. Raises `SignalError` also if there is no answer within `timeout_s`.

    `isolated` maps signals to scorers of their own; `shared` computes all others.
    """

    def __init__(
        self,
        shared: DeploymentHandle[Any],
        isolated: Mapping[str, DeploymentHandle[Any]],
        timeout_s: float,
        liveness: Liveness,
        breakers: Mapping[str, CircuitBreaker],
    ) -> None:
        self._breakers = breakers
        self._prompts = breakers["Scorer"].closed_copy()
        self._shared = shared.options(method_name="score")
        self._encoders = shared.options(method_name="embed")
        self._isolated = {signal: handle.options(method_name="score") for signal, handle in isolated.items()}
        self._timeout_s = timeout_s
        self._liveness = liveness

    def with_own_breakers(self) -> "ScorerHandle":
        """Return the same scorers with other breakers: trials of long texts must not cut off comparisons."""
        handle = copy(self)
        handle._breakers = {name: breaker.closed_copy() for name, breaker in self._breakers.items()}
        return handle

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        """Return the n x n similarities of n texts; NaN for pairs of the first `since`.

        Raises `SignalError` if the signal or its scorer fails, and at once while that is left out after failures.
        """
        scorer = self._isolated.get(signal, self._shared)
        deployment = signal if signal in self._isolated else "Scorer"
        breaker = self._breakers[deployment]
        if breaker.left_s is not None:
            raise SignalError(f"The scorer is left out after {breaker.failures} failures in a row.")
        with breaker.trial() as trial:
            more = [since] if since else []
            scores: Scores = await self._query(scorer, deployment, trial, self._timeout_s, signal, list(texts), *more)
        return scores

    async def embed(self, signal: str, texts: Sequence[str]) -> list[Embedding]:
        """Return the vector of each text by the encoder of an sbert signal. Raises `SignalError` as `score` does."""
        # Not reported to any breaker: requests that embed long texts must not make comparisons fail.
        return await self._embedded(Trial(), self._timeout_s, signal, texts)

    async def embed_prompt(self, signal: str, texts: Sequence[str], timeout_s: float) -> list[Embedding]:
        """Return the vectors that a request waits for. Raises `SignalError`, at once while the encoder is left out."""
        # A breaker of its own: what is too slow here, within a fraction of a second, may still compare answers in time.
        if self._prompts.left_s is not None:
            raise SignalError("The encoder is left out after failures in a row.")
        with self._prompts.trial() as trial:
            return await self._embedded(trial, timeout_s, signal, texts)

    async def _embedded(self, trial: Trial, timeout_s: float, signal: str, texts: Sequence[str]) -> list[Embedding]:
        embeddings: list[Embedding] = await self._query(self._encoders, "Scorer", trial, timeout_s, signal, list(texts))
        return embeddings

    async def _query(
        self,
        scorer: DeploymentHandle[Any],
        deployment: str,
        trial: Trial,
        timeout_s: float,
        signal: str,
        *arguments: Any,
    ) -> Any:
        try:
            async with asyncio.timeout(timeout_s), self._liveness.required(deployment):
                result = await replica_result(scorer.remote(signal, *arguments))
        except TimeoutError:
            trial.report(False)
            raise SignalError(f"The scorer did not answer within {timeout_s} s.") from None
        except GoneError as error:
            trial.report(False)
            raise SignalError(str(error)) from None
        except (RayError, RayServeException) as error:
            logger.warning("Scoring by %r failed: %s", signal, error)
            cause = error.cause if isinstance(error, RayTaskError) else None
            trial.report(isinstance(cause, SignalError))
            raise SignalError(str(cause) if trial.works else "The scorer failed.") from error
        trial.report(True)
        return result


async def _stopped_if_lost(response: Any) -> Any:
    """Return what the replica returns, and stop its work if it cannot be reached.

    It may still be alive (`ActorUnavailableError`), and would work on a call that another replica answers.
    """
    try:
        return await replica_result(response)
    except RayActorError:
        response.cancel()
        raise


async def replica_result(response: Any) -> Any:
    """Return what the replica returns, and stop the replica if this task is cancelled, which Ray alone does not."""
    try:
        return await _own_cancellation_only(response)
    except asyncio.CancelledError:
        response.cancel()
        raise


async def _own_cancellation_only(call: Awaitable[T]) -> T:
    """Turn a replica's `CancelledError` into a failure: Ray raises it as if this task itself were cancelled."""
    try:
        return await call
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # If the client left, Ray cancels the request's calls before the request itself.
        await asyncio.sleep(CANCELLATION_LAG_S)
        raise RayServeException("The work was cancelled in its replica.") from None
