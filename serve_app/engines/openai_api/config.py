"""What is written about an OpenAI-compatible endpoint, and where its key comes from: never from the configuration."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from serve_app.common.options import OPERATIONAL
from serve_app.common.secrecy import ValuePath, holds_secret, names_secret, secret_paths
from serve_app.core.types.prompt import Sampling
from serve_app.engines.base import OPTIONAL_SAMPLING, VisionSettings
from serve_app.engines.running.thinking import Markers, Reasoning
from serve_app.engines.wire.dialect import Dialect
from serve_app.errors import EngineError

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY_ENV = "OPENAI_API_KEY"
MAX_CONNECTIONS = 1000
"""What the client's own connection pool holds."""

OURS = {"model", "messages", "prompt", "stream", "stream_options", "n", "best_of", "echo", "logprobs", "top_logprobs"}
OURS |= {"max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop"}
OURS |= {"tools", "tool_choice", "response_format", "functions", "function_call", "api_key"}
"""Fields of a request that the engine sets, or that would make answers it cannot read."""

_SECRET_HEADER = re.compile("authorization|key|token|secret|cookie|password", re.IGNORECASE)
_HINT = "name an environment variable (api_key_env) or a mounted file (api_key_file)"
_REFUSED = f"which must not be in a configuration; {_HINT}"


class NoKeyError(EngineError):
    """The key is missing, so the endpoint was not called."""


class OpenAiApiConfig(VisionSettings):
    """A model behind any OpenAI-compatible endpoint: OpenAI, Azure, Together, vLLM, Ollama, llama-server, this server.

    A sampling value that neither the request nor the configuration names is not sent: the endpoint's own default holds.
    """

    honours_tools: ClassVar[bool] = True
    honours_response_format: ClassVar[bool] = True
    honours_sampling: ClassVar[frozenset[str]] = OPTIONAL_SAMPLING

    engine: Literal["openai_api"]
    model: str = Field(min_length=1, description="The model's id at the endpoint; on Azure the deployment's name.")
    base_url: str = Field(default=OPENAI_URL, description="Where /chat/completions is; on Azure the resource's URL.")
    api_version: str | None = Field(default=None, min_length=1, description="Azure's api-version; makes it Azure.")
    api_key_env: Annotated[str | None, OPERATIONAL] = Field(
        default=None, description=f"Environment variable with the key. Default, for OpenAI only: {OPENAI_KEY_ENV}."
    )
    api_key_file: Annotated[Path | None, OPERATIONAL] = Field(
        default=None, description="File that holds the key; read anew for each request."
    )
    keyless: Annotated[bool, OPERATIONAL] = Field(
        default=False, description="Send no key, as local endpoints need none."
    )
    headers: dict[str, str] = Field(default={}, description="Sent with each request; none that carries a secret.")
    timeout_s: Annotated[float, OPERATIONAL] = Field(
        default=120.0, gt=0, description="Longest silence of the endpoint, in seconds, before a try has failed."
    )
    connect_timeout_s: Annotated[float, OPERATIONAL] = Field(default=5.0, gt=0, description="Seconds for a connection.")
    max_retries: Annotated[int, OPERATIONAL] = Field(
        default=2,
        ge=0,
        le=10,
        description="Tries after the first, on 408, 409, 429, 5xx and lost connections; Retry-After is honoured. "
        "A stream that has begun is not tried again, a whole answer (stream: false) that breaks off is. All requests "
        "together have a budget of ten, and of one more for every ten requests and every ten seconds.",
    )
    max_concurrency: Annotated[int, OPERATIONAL] = Field(
        default=64, gt=0, le=MAX_CONNECTIONS, description="Requests, and so connections, at once; more wait."
    )
    stream: bool = Field(
        default=True,
        description="Stream answers; false for endpoints that have no streams, or no log-probabilities in them.",
    )
    stream_options: dict[str, Any] | None = Field(
        default={"include_usage": True},
        description="Makes streams count their tokens; vLLM also has continuous_usage_stats. Null if the endpoint "
        "refuses it.",
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="What the endpoint calls it in chats; OpenAI's newer models want the latter."
    )
    logprobs: bool = Field(default=False, description="Whether the endpoint gives log-probabilities.")
    reasoning: Reasoning = Markers()
    reasoning_effort: bool = Field(default=False, description="Whether the endpoint takes a reasoning_effort.")
    max_reasoning_tokens_field: str | None = Field(
        default=None,
        min_length=1,
        description="What the endpoint calls a limit to its thoughts, such as thinking_token_budget; null refuses "
        "requests that set one.",
    )
    max_tokens: int | None = Field(
        default=None, gt=0, description="Longest answer, in tokens, if a request names none."
    )
    temperature: float | None = Field(default=None, ge=0, description="Temperature if a request names none.")
    top_p: float | None = Field(default=None, gt=0, le=1, description="Nucleus (top-p) if a request names none.")
    seed: int | None = Field(default=None, description="Seed if a request names none.")
    extra_body: dict[str, Any] = Field(default={}, description="More fields for each request, in the endpoint's words.")

    @property
    def concurrency(self) -> int:
        return self.max_concurrency

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, values: Any) -> Any:
        """Refuse secrets before pydantic could quote them."""
        faults = [
            InitErrorDetails(type=PydanticCustomError("secret", "{text}", {"text": text}), loc=where, input={})
            for where, text in _secrets(values if isinstance(values, Mapping) else {})
        ]
        if faults:
            raise ValidationError.from_exception_data(cls.__name__, faults)
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("base_url: must be a URL with http:// or https:// and a host")
        key_options = [name for name in ("api_key_env", "api_key_file") if getattr(self, name) is not None]
        key_options += ["keyless"] if self.keyless else []
        if len(key_options) > 1:
            raise ValueError(f"{key_options[1]}: excludes {key_options[0]}")
        if not key_options and url.hostname != urlsplit(OPENAI_URL).hostname:
            raise ValueError(
                f"base_url: {url.hostname!r} is not OpenAI's, so set which key goes there: api_key_env, api_key_file, "
                "or keyless: true"
            )
        if self.keyless and self.api_version is not None:
            raise ValueError("keyless: Azure (api_version) always needs a key")
        if reserved_fields := OURS & self.extra_body.keys():
            raise ValueError(
                f"extra_body.{min(reserved_fields)}: the engine sets this itself, or could not read the answer"
            )
        return self

    @property
    def honours_logprobs(self) -> bool:
        """Return whether requests and token-level signals get log-probabilities."""
        return self.logprobs

    @property
    def honours_reasoning_effort(self) -> bool:
        """Return whether requests can say how hard the model thinks."""
        return self.reasoning_effort

    @property
    def honours_max_reasoning_tokens(self) -> bool:
        """Return whether requests can limit the model's thoughts."""
        return self.max_reasoning_tokens_field is not None

    def greedy(self, sampling: Sampling) -> bool:
        """Return whether the endpoint is told to decode at temperature 0; its own default is unknown."""
        return (self.temperature if sampling.temperature is None else sampling.temperature) == 0

    @property
    def dialect(self) -> Dialect:
        """Return how the endpoint expects its requests."""
        return Dialect(
            self.model,
            self.host,
            self.stream,
            self.stream_options,
            self.max_tokens_field,
            self.max_tokens,
            self.temperature,
            self.top_p,
            self.seed,
            self.reasoning,
            self.reasoning_effort,
            self.max_reasoning_tokens_field,
        )

    @property
    def host(self) -> str:
        """Return the host and port of the URL, for messages."""
        return urlsplit(self.base_url).netloc


def _secrets(values: Mapping[str, Any]) -> Iterator[tuple[ValuePath, str]]:
    """Yield where a secret (or what looks like one) is, and a sentence that does not repeat it."""
    if "api_key" in values:
        yield ("api_key",), f"a key must not be in a configuration; {_HINT}"
    name = values.get("api_key_env")
    if isinstance(name, str) and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        yield ("api_key_env",), "must be the name of an environment variable, in capitals, and not the key itself"
    url = values.get("base_url")
    if isinstance(url, str) and ("@" in url or "?" in url or "#" in url):
        yield ("base_url",), f"cannot have a user, a query or a fragment; for a key, {_HINT}"
    headers = values.get("headers")
    for header, value in headers.items() if isinstance(headers, Mapping) else ():
        name = str(header)
        if _SECRET_HEADER.search(name) or names_secret(name) or holds_secret(str(value)):
            yield ("headers", name), f"looks like a secret, {_REFUSED}"
    for where in secret_paths(values.get("extra_body"), ("extra_body",)):
        yield (), f"{'.'.join(map(str, where))}: looks like a secret, {_REFUSED}"
    if isinstance(file := values.get("api_key_file"), str) and holds_secret(file):
        yield ("api_key_file",), "must be the path of a file that holds the key, and not the key itself"


def read_key(config: OpenAiApiConfig) -> str:
    """Return the current key. Raises NoKeyError if it is missing; the message never contains the key."""
    if config.api_key_file is not None:
        where = f"the file {str(config.api_key_file)!r}"
        try:
            key = config.api_key_file.read_text(encoding="utf-8")
        except OSError as error:
            raise NoKeyError(f"The key for {config.model!r} could not be read: {where}: {error.strerror}.") from None
        except UnicodeError:
            raise NoKeyError(f"The key for {config.model!r} could not be read: {where} is not UTF-8 text.") from None
    else:
        name = config.api_key_env or OPENAI_KEY_ENV
        where = f"the environment variable {name!r}"
        if name not in os.environ:
            raise NoKeyError(f"The model {config.model!r} at {config.host} needs a key: {where} is not set.")
        key = os.environ[name]
    key = key.strip()
    if not re.fullmatch(r"[!-~]+", key):
        problem = "must be visible ASCII characters without spaces" if key else "is empty"
        raise NoKeyError(f"The model {config.model!r} at {config.host} needs a key: {where} {problem}.")
    return key
