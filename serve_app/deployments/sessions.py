"""Conversations that were deferred once and stay with the target, so that they do not change their model every turn."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from serve_app.config import AppConfig
from serve_app.core.running.run import Run
from serve_app.core.types.outcome import Outcome


class Sessions:
    """Remembers at most `router.max_sessions` deferred conversations of the cascades with `stickiness: escalate`.

    Each is forgotten `session_ttl_s` after its last request, and belongs to the API key (`caller`) that began it.
    `clock` returns seconds.
    """

    def __init__(self, config: AppConfig, clock: Callable[[], float] = monotonic) -> None:
        self._ttl_s = {
            id_: cascade.session_ttl_s
            for id_, cascade in config.cascades.items()
            if cascade.stickiness == "escalate" and len(cascade.tiers) > 1
        }
        self._most = config.router.max_sessions
        self._clock = clock
        self._until: OrderedDict[tuple[str, str | None, str], float] = OrderedDict()

    def escalated(self, cascade: str, session: str | None, caller: str | None = None) -> bool:
        """Return whether the conversation was deferred before, and remember it anew if so."""
        if session is None or cascade not in self._ttl_s:
            return False
        if self._until.pop((cascade, caller, session), 0.0) <= self._clock():
            return False
        self._remember(cascade, caller, session)
        return True

    def ended(self, cascade: str, session: str | None, run: Run, outcome: Outcome | None) -> None:
        """Remember the conversation if its request was deferred, by the cascade's own decision."""
        if session is not None and cascade in self._ttl_s and outcome and outcome.deferred and run.force is None:
            self._remember(cascade, run.caller, session)

    def _remember(self, cascade: str, caller: str | None, session: str) -> None:
        self._until.pop((cascade, caller, session), None)
        self._until[cascade, caller, session] = self._clock() + self._ttl_s[cascade]
        if len(self._until) > self._most:
            self._until.popitem(last=False)
