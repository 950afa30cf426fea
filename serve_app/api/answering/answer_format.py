"""How an API writes the cascade's answer: the interface between the exchange and each API's own format."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Protocol

from serve_app.api.encoding import event
from serve_app.api.errors.detail import ErrorDetail
from serve_app.core.cost import ModelCost
from serve_app.core.record import DecisionRecord, Usage
from serve_app.core.record_json import JsonObject, to_json
from serve_app.core.running.progress import Watched
from serve_app.core.types.answer import Delta, Generation


class AnswerFormat(Protocol):
    """One API's format of one request's answer: a whole response, or the events of a stream.

    A stream is `opening`, any number of `delta`, `progress` and `waiting`, then `ending` or `failed`; each is bytes of
    server-sent events.
    """

    @property
    def field_names(self) -> Mapping[str, str]:
        """Return this API's names of fields that engines name as OpenAI's chat does (`messages`), if they differ."""
        ...

    async def response(self, answers: Sequence[Generation], usage: Usage, record: DecisionRecord) -> JsonObject:
        """Build a whole plain response of all answers: one, or `Ask.choices`. It may be kept first."""
        ...

    def opening(self) -> Iterable[bytes]:
        """Yield the events before the first text."""
        ...

    def waiting(self) -> Iterable[bytes]:
        """Yield what keeps the connection open while there is no text."""
        ...

    def delta(self, delta: Delta) -> Iterable[bytes]:
        """Yield the events for a piece of text or of reasoning."""
        ...

    def progress(self, watched: Watched, costs: Mapping[str, ModelCost]) -> Iterable[bytes]:
        """Yield the events about the cascade's progress; none in an API whose requests cannot ask for them."""
        ...

    def ending(
        self, answers: Sequence[Generation], usage: Usage, record: DecisionRecord
    ) -> AsyncGenerator[bytes, None]:
        """Yield the events after the last text: tool calls, the finish reason, usage and the decision record.

        The text of the first answer has been sent; further answers come whole. The response may be kept before its end.
        """
        ...

    def failed(self, detail: ErrorDetail, record: DecisionRecord | None) -> Iterable[bytes]:
        """Yield the events of a failure after the stream has opened; without a record it is the server's own fault."""
        ...


def error_event(error: JsonObject, record: DecisionRecord | None) -> bytes:
    """Return the event named `error` of an API that has no other end for a failure, with the record if there is one."""
    return event(error | ({} if record is None else {"cascade": to_json(record)}), "error")


class WithoutProgress:
    """The part of an `AnswerFormat` whose requests cannot ask for the cascade's progress."""

    def progress(self, watched: Watched, costs: Mapping[str, ModelCost]) -> Iterable[bytes]:
        """Yield nothing."""
        return ()
