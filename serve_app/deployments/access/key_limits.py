"""What each key may use up: requests and tokens in a minute, dollars in a day."""

import logging
import math
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, cast
from zlib import crc32

from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string

from serve_app.api.errors.detail import ErrorDetail, retry_after
from serve_app.api.intake.caller import Caller
from serve_app.config import AccessConfig
from serve_app.config.key_file import ApiKey
from serve_app.core.cost import ModelCost
from serve_app.core.running.budget import has_unknown_cost
from serve_app.errors import ConfigError, RequestError

logger = logging.getLogger("ray.serve")

MICRODOLLARS = 1_000_000
"""The unit in which dollars are counted: counts are whole numbers."""
MINUTE_S, DAY_S = 60, 86_400
STORE_TIMEOUT_S = 2.0
"""A Redis that takes longer counts as away: requests would wait for it without end."""
STORE_RETRY_S = 5.0
STORE_AWAY = ErrorDetail(503, "The limits of API keys cannot be counted at the moment.", "server_error")

Unit: TypeAlias = Literal["requests", "tokens", "usd"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a key is refused for now, and for how long; `unit` is what is used up, or None if that is unknown."""

    unit: Unit | None
    detail: ErrorDetail
    retry_after_s: float

    @property
    def result(self) -> str:
        """Return its label in metrics."""
        return self.unit or "uncounted"

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that tell clients when to retry, and OpenAI's header against retrying at once."""
        useless = {"x-should-retry": "false"} if self.unit == "usd" else {}
        return retry_after(self.retry_after_s) | useless


class Counts(Protocol):
    """Numbers by name that are forgotten after a while: of this process, or of all routers. Raises `StorageError`."""

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a number, which may be forgotten after `expiry` seconds, and return it."""
        ...

    async def get(self, key: str) -> int:
        """Return a number: 0 if nothing was added to it."""
        ...


@dataclass(frozen=True, slots=True)
class _Limit:
    """What a key may use up until a window ends. The window's name is the same at every router."""

    unit: Unit
    most: int
    window: str
    left_s: float


class KeyLimits:
    """Counts by the minute, which begins at another second for each key, and by the day (UTC).

    Requests are counted when they come; tokens and dollars when they are known, so the requests in progress may go
    beyond a limit.
    """

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    async def admit(self, name: str, key: ApiKey) -> Refusal | None:
        """Count a request of a key; return its refusal, or None if it is admitted."""
        try:
            return await self._refusal(name, key)
        except StorageError as error:
            _log_failure(error)
            return Refusal(None, STORE_AWAY, STORE_RETRY_S)

    async def _refusal(self, name: str, key: ApiKey) -> Refusal | None:
        limits = _limits(name, key)
        for unit in ("usd", "tokens"):
            if (limit := limits.get(unit)) is not None and await self._counts.get(limit.window) >= limit.most:
                return _refused(name, key, limit)
        if (limit := limits.get("requests")) is not None and await self._add(limit, 1) > limit.most:
            return _refused(name, key, limit)
        return None

    async def spend(self, name: str, key: ApiKey, tokens: int, usd: float) -> bool:
        """Count what a request has used up, and return whether the store could be asked."""
        limits = _limits(name, key)
        try:
            if tokens and (limit := limits.get("tokens")) is not None:
                await self._add(limit, tokens)
            if usd and (limit := limits.get("usd")) is not None:
                await self._add(limit, math.ceil(usd * MICRODOLLARS))
        except StorageError as error:
            _log_failure(error, f"; what the key {name!r} has used up is not counted")
            return False
        return True

    async def _add(self, limit: _Limit, amount: int) -> int:
        return await self._counts.incr(limit.window, math.ceil(limit.left_s), amount)

    async def headers(self, name: str, key: ApiKey) -> dict[str, str]:
        """Return OpenAI's headers about the remainder of a key's limits in a minute."""
        headers: dict[str, str] = {}
        try:
            for unit, limit in _limits(name, key).items():
                if unit == "usd":
                    continue
                count = await self._counts.get(limit.window)
                headers[f"x-ratelimit-limit-{unit}"] = str(limit.most)
                headers[f"x-ratelimit-remaining-{unit}"] = str(max(0, limit.most - count))
                headers[f"x-ratelimit-reset-{unit}"] = f"{math.ceil(limit.left_s) if count else 0}s"
        except StorageError as error:
            _log_failure(error)
        return headers


def check_priced(caller: Caller, costs: Collection[ModelCost]) -> None:
    """Raise `RequestError` if the caller has a budget in dollars, and one of these models has no price."""
    if caller.budgeted and has_unknown_cost(costs, "usd"):
        message = (
            f"The key {caller.name!r} has a budget in dollars, and what a model of this id costs is not known: its "
            "operator can write prices into the config."
        )
        raise RequestError(message, "model", "price_unknown")


def _limits(name: str, key: ApiKey) -> dict[Unit, _Limit]:
    """Return the limits of a key in the windows of this moment."""
    now = time.time()
    # Minutes of different keys end at different times, so that not all clients that wait for the next come at once.
    minute = divmod(now + crc32(name.encode()) % MINUTE_S, MINUTE_S)
    day = divmod(now, DAY_S)
    usd = None if key.usd_per_day is None else round(key.usd_per_day * MICRODOLLARS)
    limits_by_unit: dict[Unit, tuple[int | None, tuple[float, float], int]] = {
        "requests": (key.requests_per_minute, minute, MINUTE_S),
        "tokens": (key.tokens_per_minute, minute, MINUTE_S),
        "usd": (usd, day, DAY_S),
    }
    return {
        unit: _Limit(unit, most, f"{unit}/{name}/{number:.0f}", length_s - begun_s)
        for unit, (most, (number, begun_s), length_s) in limits_by_unit.items()
        if most is not None
    }


def _refused(name: str, key: ApiKey, limit: _Limit) -> Refusal:
    if limit.unit == "usd":
        message = f"The key {name!r} has used up its budget of ${key.usd_per_day:g} for today (UTC)."
        detail = ErrorDetail(429, message, "insufficient_quota", code="insufficient_quota")
    else:
        message = (
            f"Rate limit reached for the key {name!r}: {limit.most} {limit.unit} in a minute. "
            f"Try again in {math.ceil(limit.left_s)} s."
        )
        detail = ErrorDetail(429, message, limit.unit, code="rate_limit_exceeded")
    return Refusal(limit.unit, detail, limit.left_s)


def _log_failure(error: StorageError, effect: str = "") -> None:
    cause = error.storage_error
    logger.error("The store of the limits of API keys failed (%s: %s)%s.", type(cause).__name__, cause, effect)


def counts_of(config: AccessConfig) -> Counts:
    """Return the counts of this process, or of all that use the same Redis.

    Raises `ConfigError` without its client, or if the variable of its password is empty.
    """
    if config.limits_url is None:
        return cast("Counts", storage_from_string("async+memory://"))
    options: dict[str, str | float] = {}
    if (variable := config.limits_password_env) is not None:
        if not (password := os.environ.get(variable)):
            raise ConfigError(
                f"router.access.limits_password_env: the environment variable {variable!r} is not set, or is empty."
            )
        options["password"] = password
    options |= {"socket_timeout": STORE_TIMEOUT_S, "socket_connect_timeout": STORE_TIMEOUT_S}
    url = f"async+{config.limits_url}"
    try:
        storage = storage_from_string(url, implementation="redispy", wrap_exceptions=True, **options)
    except ConfigurationError as error:
        raise ConfigError("router.access.limits_url needs redis: pip install 'semantic-cascade[redis]'.") from error
    return cast("Counts", storage)
