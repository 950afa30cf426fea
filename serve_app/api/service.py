"""The interface of the service that runs the cascades, as the routes use it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from serve_app.api.intake.ask import Ask
from serve_app.api.intake.caller import Caller
from serve_app.api.intake.limits import Limits
from serve_app.api.responses.store import ResponseStore
from serve_app.core.record import DecisionRecord
from serve_app.core.record_json import JsonObject
from serve_app.core.running.cascade import Event
from serve_app.core.running.run import Run
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.scores import Embedding
from serve_app.errors import UnknownModelError, choices, quoted

Names: TypeAlias = Literal["refuse", "ignore", "prefix"]
"""What is done with the names of messages; `prefix` writes them before the text, as in `Ann: Hello`."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One id that clients can request: a cascade, a single model, or an encoder for embeddings."""

    id: str
    kind: Literal["cascade", "model", "embedding"]
    details: JsonObject


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether every tier of every cascade can answer; `details` name what is missing."""

    ready: bool
    details: JsonObject


class OpenedRequest(Protocol):
    """A request that a service has opened, and that is closed once, however it ends."""

    @property
    def run(self) -> Run:
        """Return what the request asks, and all that it has spent so far."""
        ...

    def events(self) -> AsyncGenerator[Event, None]:
        """Return the events of the run, which starts with the first, as `cascade_events` yields them."""
        ...

    def close(self, outcome: Outcome | None) -> DecisionRecord:
        """Count and log the request (`outcome` None: it was cancelled), and return its decision record."""
        ...


class Service(Protocol):
    """Runs requests, and knows the cascades, their thresholds and prices. `responses` is None if none are kept."""

    keepalive_s: float
    stream_open_s: float
    names: Names
    limits: Limits
    responses: ResponseStore | None

    def cards(self) -> list[ModelCard]:
        """Return a card for every id that can be requested."""
        ...

    async def recall(self, ask: Ask) -> Ask:
        """Return a request with what is remembered of its conversation, as `open` takes it."""
        ...

    def open(self, ask: Ask) -> OpenedRequest:
        """Prepare a request without starting it. Raises `UnknownModelError` or `RequestError`."""
        ...

    async def embed(self, model: str, texts: Sequence[str]) -> list[Embedding]:
        """Return the vector of each text by an encoder that has a card. Raises `SignalError` if it fails."""
        ...

    async def readiness(self) -> Readiness:
        """Return whether every cascade can answer, without calling a model."""
        ...


def cards_for(service: Service, caller: Caller) -> list[ModelCard]:
    """Return the cards of the ids that the caller may ask for."""
    return [card for card in service.cards() if caller.may_ask(card.id)]


def card_of(service: Service, model: str, caller: Caller) -> ModelCard:
    """Return the card of an id. Raises `UnknownModelError` if nothing that the caller may ask for has it."""
    cards = {card.id: card for card in cards_for(service, caller)}
    if model not in cards:
        raise unknown_model(f"There is no model {quoted(model)}. {choices(model, cards)}", caller)
    return cards[model]


def unknown_model(message: str, caller: Caller) -> UnknownModelError:
    """Return the error of an id that is not among those that the caller may ask for; an operator's key has none."""
    if caller.operator and caller.name is not None:
        message = f"The key {caller.name!r} is for operators (admin) and asks no models; use a key that is not."
    return UnknownModelError(message, "model", "model_not_found")
