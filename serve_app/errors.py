"""Every error this project raises on purpose.

    CascadeError                 a full sentence for the user
    ├── ConfigError              the configuration cannot be used
    ├── UsageError               a command got an option or argument that is invalid, alone or for the files it names
    ├── WeightsError             model files could not be found, fetched or verified
    ├── EngineError              a model could not be loaded, or broke while it answered
    │   ├── ContextTooLongError  the prompt does not fit the model's context
    │   ├── RateLimitedError     the model's endpoint takes no more requests for now (HTTP 429)
    │   └── UnsupportedRequestError  the request asks for something that the engine cannot do (HTTP 400)
    ├── SignalError              a similarity could not be computed
    ├── DataError                a file of examples, prompts, records or texts cannot be used
    ├── RequestError             the client asked for something that cannot be honoured (HTTP 400)
    │   └── UnknownModelError    no such cascade or model (HTTP 404)
    ├── OverloadedError          a model has as many requests as may wait for it (HTTP 429)
    ├── StateError               what router replicas share could not be reached (HTTP 503)
    ├── ServerError              a running server could not be started, reached or understood
    └── ClusterError             a Kubernetes cluster could not be reached, refused something, or cannot run it

Errors cross process boundaries, so every constructor argument goes to `super().__init__` by position.
"""

from collections.abc import Iterable
from difflib import get_close_matches

QUOTED_CHARACTERS = 80


def quoted(name: str) -> str:
    """Return the repr of a name that a client sent, with at most 80 of its characters."""
    return repr(name if len(name) <= QUOTED_CHARACTERS else f"{name[: QUOTED_CHARACTERS - 1]}…")


def choices(name: str, names: Iterable[str]) -> str:
    """Return `Did you mean ...? Available: ...`, for the end of a sentence about an unknown name."""
    available = sorted(names)
    hint = did_you_mean(name, available)
    return f"{hint and f'{hint} '}Available: {', '.join(available) or 'none'}."


def did_you_mean(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Return `Did you mean ...?` with the most similar name, or an empty string if none is as similar as `cutoff`."""
    close = get_close_matches(name[: 2 * QUOTED_CHARACTERS], sorted(names), n=1, cutoff=cutoff)
    return f"Did you mean {close[0]!r}?" if close else ""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 tier`, `2 tiers`; `plural` is for nouns that do not end in an s then."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


class CascadeError(Exception):
    """Base of the tree; `str(error)` is a full sentence for the user."""


class ConfigError(CascadeError):
    """The configuration cannot be used."""


class UsageError(CascadeError):
    """A command got an option or an argument that is invalid, by itself or for the files that it names."""


class WeightsError(CascadeError):
    """Model files could not be found, fetched or verified."""


class EngineError(CascadeError):
    """A model could not be loaded, or broke while it answered."""


class ContextTooLongError(EngineError):
    """The prompt (and the room it must leave for an answer) does not fit the model's context. None: unknown."""

    def __init__(self, prompt_tokens: int | None, context_tokens: int | None) -> None:
        super().__init__(prompt_tokens, context_tokens)
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens

    def __str__(self) -> str:
        if self.prompt_tokens is None or self.context_tokens is None:
            return "The prompt is longer than the model's context."
        return f"The prompt has {self.prompt_tokens} tokens, but the context holds {self.context_tokens}."


class UnsupportedRequestError(EngineError):
    """The request asks for something that the engine cannot do; repeating it does not help.

    `param` is the field of OpenAI's request that it is about, or None if that is not known.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message, param)
        self.message = message
        self.param = param

    def __str__(self) -> str:
        return self.message


class RateLimitedError(EngineError):
    """The model's endpoint takes no more requests for now; `retry_after_s` is None if it does not say for how long."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s)
        self.message = message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message


class SignalError(CascadeError):
    """A similarity could not be computed."""


class DataError(CascadeError):
    """A file of examples, prompts, records or texts cannot be used."""


class RequestError(CascadeError):
    """The client asked for something that cannot be honoured; `param` names the field."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, param, code)
        self.message = message
        self.param = param
        self.code = code

    def __str__(self) -> str:
        return self.message


class UnknownModelError(RequestError):
    """No cascade and no model has this id."""


class OverloadedError(CascadeError):
    """A model has as many requests as may wait for it; after `retry_after_s` seconds there should be room."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s)
        self.message = message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message


class StateError(CascadeError):
    """What router replicas share could not be reached in time."""


class ServerError(CascadeError):
    """A running server could not be started, reached or understood."""


class ClusterError(CascadeError):
    """A Kubernetes cluster could not be reached, refused something, or cannot run what it was given."""
