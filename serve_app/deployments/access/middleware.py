"""The check of API keys: every request except those for health needs one, before any model is called for it."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.errors.shape import error_reply
from serve_app.api.intake.caller import Caller, from_this_machine, with_caller
from serve_app.config.key_file import ApiKey
from serve_app.deployments.access.access import Access
from serve_app.deployments.access.key_ring import presented_key
from serve_app.deployments.observing.metrics import KEY_REQUESTS, KEY_TOKENS, KEY_USD, Instruments

OPEN_PATHS = ("/healthz", "/readyz", "/", "/docs", "/openapi.json")
"""Paths of probes, which have no key, of the page, which asks its user for one, and of the API's documentation.

The documentation is the same in every copy of this version: it names nothing of the config.
"""
OPEN_FOLDER = "/page/static/"
"""The page's files, the same in every copy of this project."""
NO_KEYS = ErrorDetail(
    403,
    "This server has no API keys, so it answers on its own machine only. Its operator can name a file of keys in "
    "router.access.keys_file, or let everybody in by router.access.open: true.",
    code="keys_required",
)
MISSING = ErrorDetail(
    401, "An API key is required: send Authorization: Bearer KEY, or x-api-key: KEY.", code="invalid_api_key"
)
WRONG = ErrorDetail(401, "The API key is not valid here: it is wrong, or was revoked.", code="invalid_api_key")
CHALLENGE = 'Bearer realm="semantic-cascade"'


class AccessMiddleware:
    """Lets a request pass with its `Caller` in the scope, and counts what it uses up."""

    def __init__(self, app: ASGIApp, access: Access, instruments: Instruments) -> None:
        self._app = app
        self._access = access
        self._instruments = instruments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._passes_without_keys(scope):
            await self._app(scope, receive, send)
        elif (keys := self._access.keys) is not None and (owner := keys.owner(Headers(scope=scope))) is not None:
            await self._pass(*owner, scope, receive, send)
        elif _is_open(scope):
            stranger = Caller(models=frozenset(), operator=False)
            await self._app(with_caller(scope, stranger), receive, send)
        elif keys is None:
            await error_reply(NO_KEYS, scope)(scope, receive, send)
        else:
            self._instruments.record(KEY_REQUESTS, 1, "", "unauthorized")
            await _refuse(scope, receive, send)

    def _passes_without_keys(self, scope: Scope) -> bool:
        return self._access.keys is None and (self._access.open or from_this_machine(scope))

    async def _pass(self, name: str, key: ApiKey, scope: Scope, receive: Receive, send: Send) -> None:
        caller = Caller(
            name,
            frozenset() if key.admin else None if key.models is None else frozenset(key.models),
            operator=key.admin,
            budgeted=key.usd_per_day is not None,
        )
        if scope.get("method") != "POST":  # costs no model, and so counts for no limit
            await self._app(with_caller(scope, caller), receive, send)
            return
        limits = self._access.limits
        refusal = await limits.admit(name, key)
        self._instruments.record(KEY_REQUESTS, 1, name, "passed" if refusal is None else refusal.result)
        if refusal is not None:
            # A store that has just failed is not asked again: each time may take its whole time limit.
            remainder = {} if refusal.unit is None else await limits.headers(name, key)
            await error_reply(refusal.detail, scope, refusal.headers | remainder)(scope, receive, send)
            return

        async def send_with_limits(message: Message) -> None:
            # What a whole answer has cost is known by now, but not that of one that is streamed.
            if message["type"] == "http.response.start" and await self._spend(name, key, caller):
                MutableHeaders(scope=message).update(await limits.headers(name, key))
            await send(message)

        try:
            await self._app(with_caller(scope, caller), receive, send_with_limits)
        finally:
            await self._spend(name, key, caller)

    async def _spend(self, name: str, key: ApiKey, caller: Caller) -> bool:
        tokens, usd = caller.settle()
        if tokens:
            self._instruments.record(KEY_TOKENS, tokens, name)
        if usd:
            self._instruments.record(KEY_USD, usd, name)
        return await self._access.limits.spend(name, key, tokens, usd)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if presented_key(Headers(scope=scope)) is None:
        reply = error_reply(MISSING, scope, {"www-authenticate": CHALLENGE})
    else:
        reply = error_reply(WRONG, scope, {"www-authenticate": f'{CHALLENGE}, error="invalid_token"'})
    await reply(scope, receive, send)


def _is_open(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)
