"""How a server that speaks OpenAI's API expects its requests."""

from dataclasses import dataclass, field
from typing import Any, Literal

from serve_app.engines.running.thinking import Markers


@dataclass(frozen=True, slots=True)
class Dialect:
    """A server's own names of a request's fields, and the values that it gets if a request names none.

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
    reasoning: Markers | None = field(default_factory=Markers)
    """The marks around thoughts that the server leaves in an answer's text."""
    reasoning_effort: bool = False
    """Whether the server takes the field."""
    max_reasoning_tokens_field: str | None = None
    """The field's name, in chats."""
    thinking_switch: bool = False
    """Whether the server turns thoughts off by a variable of chat templates, `enable_thinking`."""

    def __str__(self) -> str:
        return f"{self.model!r} at {self.host}"
