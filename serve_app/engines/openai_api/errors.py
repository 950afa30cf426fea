"""The client's exceptions as `EngineError`s that name model, host and status, never the key or a prompt's text."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from serve_app.common.retries import named_wait_s
from serve_app.engines.openai_api.config import OpenAiApiConfig
from serve_app.engines.wire.dialect import Dialect
from serve_app.engines.wire.errors import RefusedError, refusal, unreadable
from serve_app.errors import EngineError


@contextmanager
def translated(config: OpenAiApiConfig, dialect: Dialect) -> Iterator[None]:
    """Turn what the client raises in the body into `EngineError`s."""
    import openai

    try:
        yield
    except (
        openai.APITimeoutError,
        httpx.TimeoutException,
    ) as error:  # before its version 3 httpx's come out of streams
        limits = f"timeout_s: {config.timeout_s:g}, connect_timeout_s: {config.connect_timeout_s:g}"
        raise _lost(error)(f"The model {dialect} did not answer in time ({limits}).") from error
    except (openai.APIConnectionError, httpx.HTTPError) as error:
        raise _lost(error)(f"The connection to the model {dialect} failed.") from error
    except openai.APIError as error:
        status = error.status_code if isinstance(error, openai.APIStatusError) else None
        raise refusal(dialect, error.body, status, retry_after_s(error)) from error
    except (openai.OpenAIError, UnicodeEncodeError) as error:
        raise RefusedError(f"The client could not call the model {dialect} ({type(error).__name__}).") from error
    except (ValueError, RecursionError) as error:  # what decoding bytes, JSON and numbers can raise
        raise unreadable(dialect) from error


def _lost(error: Exception) -> type[EngineError]:
    """Return the error class for a lost connection: RefusedError only if none was made.

    Causes are compared by name: clients up to 2 and from 3 on use different copies of httpx.
    """
    return RefusedError if type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout") else EngineError


def retry_after_s(error: Exception) -> float | None:
    """Return the seconds that the endpoint asks to wait, or None."""
    import openai

    return named_wait_s(error.response.headers) if isinstance(error, openai.APIStatusError) else None
