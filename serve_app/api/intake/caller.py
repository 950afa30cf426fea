"""The sender of a request, and what was spent on it."""

import os
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from serve_app.common.loopback import is_loopback

FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
"""Headers by which a proxy on this machine marks a request from another machine."""


@dataclass(slots=True)
class Caller:
    """The sender of one request: the name of the API key, and its rights. By default anonymous, with all rights.

    `models` are those that may be asked, None: all. `operator` is whether the operators' views are shown, `budgeted`
    whether dollars are counted, so that every price must be known. `tokens` and `usd` are spent so far.
    """

    name: str | None = None
    models: frozenset[str] | None = None
    operator: bool = True
    budgeted: bool = False
    tokens: int = 0
    usd: float = 0.0

    def may_ask(self, model: str) -> bool:
        """Return whether the caller may ask for this id."""
        return self.models is None or model in self.models

    def spend(self, tokens: int, usd: float | None = None) -> None:
        """Add what a part of the request took; `usd` is None if it has no price."""
        self.tokens += tokens
        self.usd += usd or 0.0

    def settle(self) -> tuple[int, float]:
        """Return the tokens and dollars that were spent since the last time."""
        totals = self.tokens, self.usd
        self.tokens, self.usd = 0, 0.0
        return totals


def with_caller(scope: Scope, caller: Caller) -> Scope:
    """Return the ASGI scope of a request that is known to be this caller's."""
    return {**scope, "caller": caller}


def caller_of(scope: Scope) -> Caller:
    """Return the sender of the request of this ASGI scope: anonymous if the server needs no keys."""
    caller = scope.get("caller")
    return caller if isinstance(caller, Caller) else Caller()


def behind_haproxy() -> bool:
    """Return whether Ray Serve's HAProxy passes requests on: from this machine, wherever they came from."""
    return os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1"


def from_this_machine(scope: Scope) -> bool:
    """Return whether a request arrived at a loopback address, and no proxy is known that may have passed it on."""
    if behind_haproxy():
        return False
    headers = Headers(scope=scope)
    return is_loopback((scope.get("server") or (None,))[0]) and not any(name in headers for name in FORWARDED)
