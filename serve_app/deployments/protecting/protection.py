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
from serve_app.deployments.protecting.load import Place, fullest, loads
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
                "the remaining places are for other keys."
            )
        return OverloadedError(message, load.retry_after_s)

    def enter(self, run: Run) -> "Places":
        """Give the run its models, and return its places at those that are asked first, which are not held yet.

        A run that skips its cascade gives back the places of models that it does not ask.
        """
        by_model = {name: Place(self.loads[self._config.served_by(name)], run.caller) for name in run.first.models}
        run.models = self._models | {name: self._models[name].at(place) for name, place in by_model.items()}
        places = Places(by_model)
        if run.prechecker is not None:
            run.prechecker = _Releasing(run.prechecker, places)
        return places

    def left_out(self) -> list[str]:
        """Return the deployments whose breakers are open."""
        return [name for name, breaker in self.breakers.items() if breaker.left_s is not None]


@dataclass(frozen=True, slots=True)
class Places:
    """One request's places, at each model that it asks first."""

    by_model: Mapping[str, Place]

    def hold(self) -> None:
        """Take them until `leave`: even at a full model, where the request has been waiting."""
        for place in self.by_model.values():
            place.hold()

    def leave(self, staying: str | None = None) -> None:
        """Give them back, but for the one at the model `staying`."""
        for name, place in self.by_model.items():
            if name != staying:
                place.release()


@dataclass(frozen=True, slots=True)
class _Releasing:
    """The core's `Prechecker` over another one: a verdict gives back the places of the models that are not asked."""

    prechecker: Prechecker
    places: Places = field(compare=False)

    async def check(self, prompt: Prompt) -> Precheck:
        precheck = await self.prechecker.check(prompt)
        if precheck.verdict is not None:
            self.places.leave(staying=precheck.member)
        return precheck
