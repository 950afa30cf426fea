"""Cascades under pressure: while many requests wait for their target, they accept more of the members' answers."""

from collections.abc import Callable, Iterator, Mapping
from time import monotonic

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.config import AppConfig
from serve_app.core.deciding.shedding import Hysteresis, shed_tiers
from serve_app.core.running.run import Run
from serve_app.core.types.outcome import Shed
from serve_app.deployments.opening.overrides import has_own_policy
from serve_app.deployments.policies import Policies
from serve_app.deployments.protecting.load import Load
from serve_app.errors import RequestError, quoted


class Shedding:
    """The cascades with `shed`, and which of them are under pressure; `loads` are by deployment.

    The pressure is the share of the queue at a cascade's target that is taken. `clock` returns seconds.
    """

    def __init__(
        self,
        config: AppConfig,
        policies: Policies,
        loads: Mapping[str, Load],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._policies = policies
        self._rules = {id_: cascade.shed for id_, cascade in config.cascades.items() if cascade.shed is not None}
        self._targets = {id_: loads[config.served_by(config.cascades[id_].tiers[-1].models[0])] for id_ in self._rules}
        self._states = {
            id_: Hysteresis(rule.begin_at, rule.end_at, rule.hold_s, clock) for id_, rule in self._rules.items()
        }

    def observe(self) -> None:
        """Look at the pressure, which changes as requests come and end."""
        for id_, state in self._states.items():
            state.observe(self._targets[id_].pressure)

    def states(self) -> Iterator[tuple[str, bool, float]]:
        """Yield each cascade that may shed, whether it does now, and its pressure."""
        self.observe()
        for id_, state in self._states.items():
            able = self._rules[id_].by == "members" or id_ in self._policies.shed_thresholds
            yield id_, state.active and able, self._targets[id_].pressure

    def remedy(self, cascade: str) -> str | None:
        """Return by what a cascade sheds, `thresholds` or `members`; None if it never does."""
        rule = self._rules.get(cascade)
        return None if rule is None else rule.by

    def check(self, cascade: str, options: CascadeOptions) -> None:
        """Raise `RequestError` if the request opts out and the operator does not allow it."""
        rule = self._rules.get(cascade)
        if not options.shed and rule is not None and not rule.opt_out:
            message = f"cascade.shed: requests cannot opt out of it at {quoted(cascade)} (shed.opt_out)."
            raise RequestError(message, "cascade.shed")

    def shed(self, cascade: str, run: Run, options: CascadeOptions) -> bool:
        """Let a run that has not begun decide as under pressure, if there is any, and return whether it does.

        A request with a policy of its own, or with `force`, keeps that; one whose conversation stays with the target
        is not decided at all. If pressure would change no decision, the run is not changed.
        """
        self.observe()
        rule, state = self._rules.get(cascade), self._states.get(cascade)
        if rule is None or state is None or not state.active or not options.shed:
            return False
        if run.escalated or run.force is not None or has_own_policy(options):
            return False
        tiers = shed_tiers(run.tiers, rule.by, self._policies.shed_thresholds.get(cascade))
        if tiers is None or tiers == tuple(run.tiers):  # lower thresholds may be the usual ones
            return False
        calibration = self._policies.shed_calibration(cascade) if rule.by == "thresholds" else None
        run.tiers, run.shed = tiers, Shed(rule.by, self._targets[cascade].pressure, calibration)
        # Both would send requests to the target that their own decision may not.
        run.speculation = run.prechecker = None
        return True
