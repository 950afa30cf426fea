"""All models of a router behind their loads and breakers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serve_app.config import AppConfig
from serve_app.core.protocols import Model, Prechecker
from serve_app.core.running.run import Run
from serve_app.core.types.outcome import Precheck
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt
from serve_app.deployments.protecting.circuit_breaker import CircuitBreaker
from serve_app.deployments.protecting.guarded_model import GuardedModel
from serve_app.deployments.protecting.load import Permit, fullest, loads
from serve_app.errors import OverloadedError


class Protection:
    """Admits requests while there is room, and gives each its models; `breakers` and `loads` are by deployment.

    `models` are all that requests may ask, adapters and samples included.
    """

    def __init__(self, config: AppConfig, models: Mapping[str, Model]) -> None:
        self._config = config
        self.loads = loads(config)
        self.breakers = {name: CircuitBreaker(config.router.circuit_breaker) for name in config.deployments()}
        self._models = {name: self._guarded(model, config.served_by(name)) for name, model in models.items()}

    def _guarded(self, model: Model, deployment: str) -> GuardedModel:
        return GuardedModel(model, self.loads[deployment], self.breakers[deployment])

    def full(self, tier: Tier, key: str | None) -> str | None:
        """Return the model of a tier that has no room for an API key, the one with the longest wait, or None."""
        return fullest({name: self.loads[self._config.served_by(name)] for name in tier.models}, key)

    def idle(self, models: Sequence[str]) -> bool:
        """Return whether these models would begin with a request each at once, and none is left out or on trial."""
        counts = Counter(map(self._config.served_by, models))
        return all(self.loads[name].has_slots(count) and self.breakers[name].closed for name, count in counts.items())

    def overloaded(self, name: str, key: str | None) -> OverloadedError:
        """Return the error of a request that finds a model full for its API key."""
        load = self.loads[self._config.served_by(name)]
        message = f"The model {name!r} has {load.in_progress} requests, as many as may wait for it."
        if not load.full:
            message = (
                f"The model {name!r} has {load.in_progress} requests, {load.by_key[key]} of them by the key {key!r}; "
                "the rest of its queue is for other keys."
            )
        return OverloadedError(message, load.retry_after_s)

    def enter(self, run: Run) -> "Permits":
        """Give the run its models, and return its permits for those that are asked first, not acquired yet.

        A run that skips its cascade releases the permits for models that it does not ask.
        """
        by_model = {name: Permit(self.loads[self._config.served_by(name)], run.caller) for name in run.first.models}
        run.models = self._models | {name: self._models[name].with_permit(permit) for name, permit in by_model.items()}
        permits = Permits(by_model)
        if run.prechecker is not None:
            run.prechecker = _Releasing(run.prechecker, permits)
        return permits

    def left_out(self) -> list[str]:
        """Return the deployments whose breakers are open."""
        return [name for name, breaker in self.breakers.items() if breaker.left_s is not None]


@dataclass(frozen=True, slots=True)
class Permits:
    """One request's permits, for each model that it asks first."""

    by_model: Mapping[str, Permit]

    def acquire(self) -> None:
        """Acquire them until `release`, even for a full model, where the request has been waiting."""
        for permit in self.by_model.values():
            permit.acquire()

    def release(self, but: str | None = None) -> None:
        """Release them, but for the one for the model `but`."""
        for name, permit in self.by_model.items():
            if name != but:
                permit.release()


@dataclass(frozen=True, slots=True)
class _Releasing:
    """The core's `Prechecker` over another one: a verdict releases the permits for models that are not asked."""

    prechecker: Prechecker
    permits: Permits = field(compare=False)

    async def check(self, prompt: Prompt) -> Precheck:
        precheck = await self.prechecker.check(prompt)
        if precheck.verdict is not None:
            self.permits.release(but=precheck.member)
        return precheck
