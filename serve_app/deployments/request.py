"""A request in progress, with all that it holds of the router's parts until it ends."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serve_app.api.intake.ask import Ask
from serve_app.core.record import DecisionRecord
from serve_app.core.running.cascade import Event, cascade_events
from serve_app.core.running.run import Run
from serve_app.core.types.outcome import Outcome
from serve_app.deployments.caching.turn import Turn
from serve_app.deployments.protecting.protection import Permits
from serve_app.deployments.remembering.stickiness import Conversation

if TYPE_CHECKING:
    from serve_app.deployments.observing.tracing import RequestSpan


@dataclass(frozen=True, slots=True)
class RequestInProgress:
    """The API's `OpenedRequest`: an `ask`, and the `run` that answers it.

    `permits` are those for its first models. `turn` is None if its answer is not to be cached, `conversation` if it may
    be answered by any model whatever came before, `span` if requests are not traced. `end` is called by `close`.
    """

    ask: Ask
    run: Run
    permits: Permits
    turn: Turn | None
    conversation: Conversation | None
    span: "RequestSpan | None"
    end: Callable[["RequestInProgress", Outcome | None], DecisionRecord]

    def events(self) -> AsyncGenerator[Event, None]:
        """Return the events of the run, or of the answer that it gets in place of its own."""
        events = cascade_events(self.run) if self.turn is None else self.turn.events(self.run)
        return events if self.conversation is None else self.conversation.events(self.run, events)

    def close(self, outcome: Outcome | None) -> DecisionRecord:
        """End the request, once; `outcome` is None if it was cancelled. Return its decision record."""
        return self.end(self, outcome)
