"""The answers of cascades that have a cache: kept for requests to come, and shared by equal ones in progress."""

from collections.abc import Callable
from time import monotonic

from serve_app.api.intake.ask import Ask
from serve_app.common.bounded_store import StoreLimits
from serve_app.config import AppConfig
from serve_app.core.running.run import Run
from serve_app.core.sampling import sampled
from serve_app.deployments.caching.flights import Flights
from serve_app.deployments.caching.kept_answers import KeptAnswers
from serve_app.deployments.caching.key import request_key
from serve_app.deployments.caching.turn import Turn


class AnswerCache:
    """The kept answers of every cascade that has a cache, and the runs that equal requests share.

    `clock` returns seconds.
    """

    def __init__(self, config: AppConfig, clock: Callable[[], float] = monotonic) -> None:
        self._answers = {
            id_: KeptAnswers(StoreLimits(cascade.cache.entries, cascade.cache.bytes, cascade.cache.ttl_s), clock)
            for id_, cascade in config.cascades.items()
            if cascade.cache is not None
        }
        self._config = config
        self._samples = config.samples()
        self._flights = Flights()

    def has(self, cascade: str) -> bool:
        """Return whether the cascade has a cache."""
        return cascade in self._answers

    def turn(self, ask: Ask, run: Run, calibration: str | None) -> Turn | None:
        """Return the turn of a request, which has not entered yet, or None if its answer is not to be cached.

        `calibration` is the id of the one in force.
        """
        key = self._key(ask, run, calibration)
        return None if key is None else Turn(self._answers[ask.model], self._flights, key)

    def _key(self, ask: Ask, run: Run, calibration: str | None) -> bytes | None:
        """Return the key of a request's answer, or None if it is not to be cached: a model may draw at random."""
        if not ask.options.cache or ask.model not in self._answers:
            return None
        for name in {name for tier in run.tiers for name in tier.models}:
            sample = self._samples.get(name)
            prompt = run.prompt if sample is None else sampled(run.prompt, sample)
            if not self._config.models[self._config.served_by(name)].greedy(prompt.sampling):
                return None
        return request_key(ask.model, run, calibration, run.caller)
