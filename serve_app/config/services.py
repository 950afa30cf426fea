"""What a user writes about the deployments beside the models: scorer, router, and signals kept apart."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from serve_app.common.bounded_store import StoreLimits
from serve_app.config.deployment import DeploymentOptions
from serve_app.config.strict import Strict
from serve_app.signals import BleurtConfig, SharedSignalConfig


class ScorerDeployment(DeploymentOptions):
    """How a scorer runs: it works on texts of many requests at once."""

    max_ongoing_requests: PositiveInt = Field(256, description="Requests that one replica works on or holds at once.")


class RouterDeployment(DeploymentOptions):
    """How the router, or what its replicas share, runs: most of its requests wait for models."""

    max_ongoing_requests: PositiveInt = Field(1000, description="Requests that one replica works on or holds at once.")


class BleurtSettings(BleurtConfig):
    """BLEURT, and the deployment that it runs in: it needs an environment of its own."""

    deployment: ScorerDeployment = Field(ScorerDeployment(), description="Replicas, resources and scaling.")


SignalSettings: TypeAlias = Annotated[SharedSignalConfig | BleurtSettings, Field(discriminator="kind")]


class ScorerConfig(Strict):
    """The deployment that computes similarities for every cascade."""

    inline_characters: NonNegativeInt = Field(
        2000,
        description="Answers of up to so many characters in all are compared by lexical signals inside the router, "
        "which takes less time than to ask; 0: never.",
    )
    max_batch_texts: PositiveInt = Field(256, description="Texts scored in one go; more wait for the next.")
    timeout_s: float = Field(30, gt=0, description="Seconds after which a request is deferred without its agreement.")
    deployment: ScorerDeployment = Field(ScorerDeployment(), description="Replicas, resources and scaling.")


class TracingConfig(Strict):
    """OpenTelemetry spans of requests, and where they are sent."""

    endpoint: str = Field(
        pattern="^https?://[^ ]+$",
        description="A collector's OTLP over HTTP, such as http://127.0.0.1:4318; /v1/traces is added.",
    )
    sample_ratio: float = Field(
        1, ge=0, le=1, description="Share of requests traced, unless the client's traceparent decides."
    )

    @field_validator("endpoint")
    @classmethod
    def _no_credentials(cls, endpoint: str) -> str:
        if "@" in urlsplit(endpoint).netloc or "?" in endpoint or "#" in endpoint:
            raise ValueError(
                "cannot have a user, a query or a fragment; a collector's token goes into the environment variable "
                "OTEL_EXPORTER_OTLP_HEADERS"
            )
        return endpoint


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s*A-Z]+")
"""As browsers send it: in small letters, without a path."""


class CorsConfig(Strict):
    """Pages in browsers that may use the API."""

    origins: list[str] = Field(min_length=1, description='Scheme, host and port of each page, or "*" for every page.')
    credentials: bool = Field(
        False, description="Whether browsers send cookies along; an API key is none. Not with the origin `*`."
    )
    max_age_s: NonNegativeInt = Field(600, description="Seconds that browsers remember a preflight's answer.")

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f'{origin!r} is not an origin; write "*", or one such as https://app.example:8443')
        return origins

    @model_validator(mode="after")
    def _no_credentials_for_everyone(self) -> Self:
        if self.credentials and "*" in self.origins:
            raise ValueError('credentials: not with the origin "*", which would let every page act for its visitors')
        return self


MAX_PORT = 65535


class AccessConfig(Strict):
    """Access to the API. Without keys, and unless it is `open`, only requests from this machine are answered."""

    keys_file: Path | None = Field(
        None,
        description="File of API keys, which `cascade keys` writes: every request needs one then, but for health. A "
        "change of it holds within seconds.",
    )
    open: bool = Field(
        False,
        description="Whether requests from other machines need no key, since what is before the server asks for one.",
    )
    limits_url: str | None = Field(
        None,
        description="A Redis, such as redis://redis:6379, in which all router replicas count what keys use up; null: "
        "a single router counts by itself, and several through the StateStore.",
    )
    limits_password_env: str | None = Field(
        None, description="Environment variable with the password of that Redis; null: none is needed."
    )

    @field_validator("limits_url")
    @classmethod
    def _of_a_redis(cls, url: str | None) -> str | None:
        match = re.fullmatch(r"rediss?://[^ @/?#:]+:(\d{1,5})(/\d+)?", url or "")
        if url is not None and (match is None or not 0 < int(match[1]) <= MAX_PORT):
            raise ValueError(
                "must be redis://HOST:PORT, or rediss:// for TLS, followed by /N for database N; a password comes from "
                "the environment variable that limits_password_env names"
            )
        return url

    @model_validator(mode="after")
    def _keys_or_none(self) -> Self:
        if self.open and self.keys_file is not None:
            raise ValueError(
                "open: true lets everybody in without a key, and keys_file asks for one; set one of the two"
            )
        if self.keys_file is None and self.limits_url is not None:
            raise ValueError("limits_url: limits are those of keys, and there is no keys_file")
        if self.limits_url is None and self.limits_password_env is not None:
            raise ValueError("limits_password_env: there is no limits_url")
        return self


class CircuitBreakerConfig(Strict):
    """When a model or a scorer that keeps failing is left out, so that no request waits for it."""

    failures: PositiveInt | None = Field(5, description="Failures in a row that leave it out; null: never.")
    open_s: float = Field(10, gt=0, description="Seconds until it is tried again, by one request.")
    longest_s: float = Field(120, gt=0, description="Longest pause in seconds; the pause doubles with each failed try.")


STATE_STORE = "StateStore"
"""The deployment of a `StateStoreConfig`."""


class StateStoreConfig(Strict):
    """What several router replicas share responses, sessions, use of keys and figures by; one router needs none.

    It has one replica: what it holds is in that replica's memory.
    """

    timeout_s: float = Field(
        1,
        gt=0,
        description="Seconds that a request waits for it. After them its conversation counts as not deferred, and "
        "`previous_response_id` is a 503.",
    )
    deployment: RouterDeployment = Field(
        RouterDeployment(), description="Resources of its replica, of which there is one."
    )

    @field_validator("deployment")
    @classmethod
    def _one_replica(cls, deployment: RouterDeployment) -> RouterDeployment:
        if deployment.most_replicas > 1 or deployment.autoscaling_config is not None:
            raise ValueError(
                "must have one replica, which all routers share; leave out num_replicas and autoscaling_config"
            )
        return deployment


class ResponsesConfig(Strict):
    """How long the responses of `/v1/responses` are kept in memory: the router's, or what its replicas share."""

    store_entries: NonNegativeInt = Field(
        1000, description="Responses kept at the most; 0: none, and `previous_response_id` is refused."
    )
    store_bytes: PositiveInt = Field(
        64_000_000, description="Memory for them; beyond it, or beyond the entries, the oldest is forgotten."
    )
    ttl_s: float = Field(3600, gt=0, description="Seconds after which a response is forgotten.")

    def limits(self) -> StoreLimits:
        """Return them as a store takes them."""
        return StoreLimits(self.store_entries, self.store_bytes, self.ttl_s)


class RouterConfig(Strict):
    """The deployment that takes HTTP requests and runs cascades."""

    keepalive_s: float = Field(10, gt=0, description="Seconds between comment lines that keep a waiting stream open.")
    stream_open_s: float = Field(
        10,
        ge=0,
        description="Seconds a stream waits for text before it opens; a failure until then has its own status.",
    )
    access: AccessConfig = Field(AccessConfig(), description="Access to the API: keys and their limits.")
    allowed_hosts: list[str] = Field(
        [],
        description="Names, beside localhost, under which requests may reach a server on a loopback address, "
        "such as a proxy's; `*`: any.",
    )
    names: Literal["refuse", "ignore", "prefix"] = Field(
        "ignore",
        description="What is done with the names of messages: a 400, nothing, or written before the text (`Ann: Hi`).",
    )
    max_sessions: PositiveInt = Field(
        10_000, description="Conversations that are remembered as deferred; beyond them the oldest is forgotten."
    )
    unavailable_after_s: float = Field(
        10, ge=0, description="A model whose replicas are gone fails its requests at once after so many seconds."
    )
    max_waiting: float = Field(
        2,
        ge=0,
        description="Waiting requests allowed per slot of a model; a request beyond them gets a 429.",
    )
    circuit_breaker: CircuitBreakerConfig = Field(
        CircuitBreakerConfig(), description="When what keeps failing is left out for a while."
    )
    max_body_bytes: PositiveInt = Field(4_000_000, description="Size of a request body; a larger one is a 413.")
    body_timeout_s: float = Field(30, gt=0, description="Seconds for a request body to arrive; after them, a 408.")
    max_messages: PositiveInt = Field(2048, description="Messages in one request.")
    max_json_values: PositiveInt = Field(
        100_000, description="Commas and opening brackets in one request body, outside of strings."
    )
    max_json_depth: int = Field(128, ge=8, le=256, description="How deep the JSON of a request body may be nested.")
    cors: CorsConfig | None = Field(None, description="Which pages in browsers may use the API; null: none.")
    page: bool | None = Field(
        None,
        description="Whether a page to try the cascades is served at `/`; null: to clients on this machine alone, or, "
        "with API keys, to all.",
    )
    page_texts: bool = Field(
        False,
        description="Whether the page shows operators the beginnings of the latest prompts and answers, which the "
        "routers, and while the page is watched their StateStore, then keep in memory; they are in no log.",
    )
    responses: ResponsesConfig = Field(
        ResponsesConfig(), description="Responses that are kept, so that a later request can go on from them."
    )
    log_decisions: bool = Field(False, description="Log every decision record (without texts) as one line of JSON.")
    tracing: TracingConfig | None = Field(None, description="Where spans are sent; null: nowhere.")
    deployment: RouterDeployment = Field(RouterDeployment(), description="Replicas, resources and scaling.")

    @model_validator(mode="after")
    def _texts_are_for_operators(self) -> Self:
        if self.page_texts and self.access.open:
            raise ValueError("page_texts: with access.open everybody is an operator and would see them; use API keys")
        return self

    def limits(self) -> dict[str, Any]:
        """Return the limits of a request body, by name."""
        names = {"max_body_bytes", "body_timeout_s", "max_messages", "max_json_values", "max_json_depth"}
        return self.model_dump(include=names)
