"""How a server that speaks OpenAI's API expects its requests."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Dialect:
    """A server's own words for a request, and the values that it gets if a request names none.

    A value of None is not sent: the server's own default holds.
    """

    model: str
    host: str
    """For messages, such as `api.openai.com`."""
    stream: bool = True
    stream_options: dict[str, Any] | None = None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The field's name in chats; in raw completions it is always `max_tokens`."""
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None

    def __str__(self) -> str:
        return f"{self.model!r} at {self.host}"
