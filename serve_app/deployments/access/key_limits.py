"""What each key may use up: requests and tokens in a minute, dollars in a day. The library `limits` counts."""

import logging
import math
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import ConfigurationError, StorageError
from limits.storage import StorageTypes, storage_from_string

from serve_app.api.errors.detail import ErrorDetail, retry_after
from serve_app.api.intake.caller import Caller
from serve_app.config import AccessConfig
from serve_app.config.key_file import ApiKey
from serve_app.core.cost import ModelCost
from serve_app.core.running.budget import has_unknown_cost
from serve_app.errors import ConfigError, RequestError

logger = logging.getLogger("ray.serve")

MICRODOLLARS = 1_000_000
"""The unit in which dollars are counted, since the library counts whole numbers."""
DAY_S = 86_400
STORE_TIMEOUT_S = 2.0
"""A Redis that takes longer counts as away: requests would wait for it without end."""
STORE_RETRY_S = 5.0
STORE_AWAY = ErrorDetail(503, "The limits of API keys cannot be counted at the moment.", "server_error")

Unit: TypeAlias = Literal["requests", "tokens", "usd"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a key may not ask for now, and how long it lasts; `unit` is what is used up, None if nobody can tell."""

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


class KeyLimits:
    """Counts in windows that begin with a key's first request, or with the day (UTC).

    Requests are counted when they come; tokens and dollars when they are known, so the requests in progress may go
    beyond a limit. Raises `ConfigError` if the store cannot be used.
    """

    def __init__(self, config: AccessConfig) -> None:
        self._windows = FixedWindowRateLimiter(_store(config))

    async def admit(self, name: str, key: ApiKey) -> Refusal | None:
        """Count a request of a key; return why it may not be, or None if it may."""
        try:
            return await self._refusal(name, key)
        except StorageError as error:
            logger.error("The store of the limits of API keys failed: %r", error.storage_error)
            return Refusal(None, STORE_AWAY, STORE_RETRY_S)

    async def _refusal(self, name: str, key: ApiKey) -> Refusal | None:
        items = _items(key)
        if "usd" in items and not await self._windows.test(items["usd"], name, _today()):
            return _out_of_budget(name, key)
        if "tokens" in items and not await self._windows.test(items["tokens"], name):
            return await self._too_fast("tokens", items["tokens"], name)
        if "requests" in items and not await self._windows.hit(items["requests"], name):
            return await self._too_fast("requests", items["requests"], name)
        return None

    async def spend(self, name: str, key: ApiKey, tokens: int, usd: float) -> None:
        """Count what a request has used up."""
        items = _items(key)
        try:
            if tokens and "tokens" in items:
                await self._windows.hit(items["tokens"], name, cost=tokens)
            if usd and "usd" in items:
                await self._windows.hit(items["usd"], name, _today(), cost=math.ceil(usd * MICRODOLLARS))
        except StorageError as error:
            logger.error("What the key %r has used up could not be counted: %r", name, error.storage_error)

    async def headers(self, name: str, key: ApiKey) -> dict[str, str]:
        """Return OpenAI's headers about what is left of a key's limits in a minute."""
        shown: dict[str, str] = {}
        try:
            for unit, item in _items(key).items():
                if unit == "usd":
                    continue
                reset_s, remaining = await self._left(item, name)
                shown[f"x-ratelimit-limit-{unit}"] = str(item.amount)
                shown[f"x-ratelimit-remaining-{unit}"] = str(remaining)
                shown[f"x-ratelimit-reset-{unit}"] = f"{math.ceil(reset_s)}s"
        except StorageError as error:
            logger.error("The store of the limits of API keys failed: %r", error.storage_error)
        return shown

    async def _left(self, item: RateLimitItem, name: str) -> tuple[float, int]:
        """Return the seconds until a window ends, and what is left in it."""
        reset, remaining = await self._windows.get_window_stats(item, name)
        return max(0.0, reset - time.time()), remaining

    async def _too_fast(self, unit: Literal["requests", "tokens"], item: RateLimitItem, name: str) -> Refusal:
        reset_s, _ = await self._left(item, name)
        message = (
            f"Rate limit reached for the key {name!r}: {item.amount} {unit} in a minute. "
            f"Try again in {math.ceil(reset_s)} s."
        )
        return Refusal(unit, ErrorDetail(429, message, unit, code="rate_limit_exceeded"), reset_s)


class _CountedByName(RateLimitItem):
    """A limit whose count goes on if its amount is changed: the library would begin anew."""

    def key_for(self, *identifiers: bytes | str | int | float) -> str:
        return "/".join((self.namespace, *map(str, identifiers)))


class _PerMinute(_CountedByName, RateLimitItemPerMinute):
    pass


class _PerDay(_CountedByName, RateLimitItemPerDay):
    pass


def check_priced(caller: Caller, costs: Collection[ModelCost]) -> None:
    """Raise `RequestError` if the caller has a budget in dollars, and one of these models has no price."""
    if caller.budgeted and has_unknown_cost(costs, "usd"):
        message = (
            f"The key {caller.name!r} has a budget in dollars, and what a model of this id costs is not known: its "
            "operator can write prices into the config."
        )
        raise RequestError(message, "model", "price_unknown")


def _items(key: ApiKey) -> dict[Unit, RateLimitItem]:
    items: dict[Unit, RateLimitItem] = {}
    if key.requests_per_minute is not None:
        items["requests"] = _PerMinute(key.requests_per_minute, namespace="requests")
    if key.tokens_per_minute is not None:
        items["tokens"] = _PerMinute(key.tokens_per_minute, namespace="tokens")
    if key.usd_per_day is not None:
        items["usd"] = _PerDay(round(key.usd_per_day * MICRODOLLARS), namespace="microdollars")
    return items


def _out_of_budget(name: str, key: ApiKey) -> Refusal:
    message = f"The key {name!r} has used up its budget of ${key.usd_per_day:g} for today (UTC)."
    detail = ErrorDetail(429, message, "insufficient_quota", code="insufficient_quota")
    return Refusal("usd", detail, DAY_S - time.time() % DAY_S)


def _today() -> str:
    return datetime.fromtimestamp(time.time(), UTC).date().isoformat()


def _store(config: AccessConfig) -> StorageTypes:
    if config.limits_url is None:
        return storage_from_string("async+memory://")
    password = os.environ.get(config.limits_password_env or "", "")
    options: dict[str, str | float] = {"password": password} if password else {}
    options |= {"socket_timeout": STORE_TIMEOUT_S, "socket_connect_timeout": STORE_TIMEOUT_S}
    url = f"async+{config.limits_url}"
    try:
        return storage_from_string(url, implementation="redispy", wrap_exceptions=True, **options)
    except ConfigurationError as error:
        raise ConfigError("router.access.limits_url needs redis: pip install 'semantic-cascade[redis]'.") from error
