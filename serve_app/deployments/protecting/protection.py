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
    """Admits requests while there is room, and gives each its models; `breakers` and `loads` are by deployment."""

    def __init__(self, config: AppConfig) -> None:
        self._config = config
        self.loads = loads(config)
        self.breakers = {name: CircuitBreaker(config.router.circuit_breaker) for name in config.deployments()}
        self._models: dict[str, GuardedModel] = {}
        self._places: dict[int, list[Place]] = {}

    def guard(self, models: Mapping[str, Model]) -> None:
        """Take the models, adapters included, that requests will ask."""
        for name, model in models.items():
            deployment = self._config.served_by(name)
            self._models[name] = GuardedModel(model, self.loads[deployment], self.breakers[deployment])

    def full(self, tier: Tier, key: str | None) -> str | None:
        """Return the model of a tier that has no room for an API key, the one with the longest wait, or None."""
        return fullest({name: self.loads[self._config.served_by(name)] for name in tier.models}, key)

    def idle(self, models: Sequence[str]) -> bool:
        """Return whether these models would begin with a request each at once, and none is left out or on trial."""
        asked = Counter(map(self._config.served_by, models))
        return all(self.loads[name].has_slots(count) and self.breakers[name].closed for name, count in asked.items())

    def overloaded(self, name: str, key: str | None) -> OverloadedError:
        """Return the error of a request that finds a model full for its API key."""
        load = self.loads[self._config.served_by(name)]
        message = f"The model {name!r} has {load.in_progress} requests, as many as may wait for it."
        if not load.full:
            message = (
                f"The model {name!r} has {load.in_progress} requests, {load.by_key[key]} of them by the key {key!r}; "
                "the places that are left are for other keys."
            )
        return OverloadedError(message, load.retry_after_s)

    def enter(self, run: Run) -> None:
        """Give the run its models, with a place at each that is asked first, which it takes when it begins.

        A run that skips its cascade gives back the places of models that it does not ask.
        """
        places = {name: Place(self.loads[self._config.served_by(name)], run.caller) for name in run.first.models}
        run.models = self._models | {name: self._models[name].at(place) for name, place in places.items()}
        self._places[id(run)] = list(places.values())
        if run.prechecker is not None:
            run.prechecker = _Releasing(run.prechecker, places)

    def begin(self, run: Run) -> None:
        """Take the run's places, until `leave`: even at a full model, where it has been waiting."""
        for place in self._places[id(run)]:
            place.hold()

    def leave(self, run: Run) -> None:
        """Give back the places of a run that has ended."""
        for place in self._places.pop(id(run)):
            place.release()

    def left_out(self) -> list[str]:
        """Return the deployments whose breakers are open."""
        return [name for name, breaker in self.breakers.items() if breaker.left_s is not None]


@dataclass(frozen=True, slots=True)
class _Releasing:
    """The core's `Prechecker` over another one: a verdict gives back the places of the models that are not asked."""

    prechecker: Prechecker
    places: Mapping[str, Place] = field(compare=False)

    async def check(self, prompt: Prompt) -> Precheck:
        precheck = await self.prechecker.check(prompt)
        if precheck.verdict is not None:
            for name, place in self.places.items():
                if name != precheck.member:
                    place.release()
        return precheck
