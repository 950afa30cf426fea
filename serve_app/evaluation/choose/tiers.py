"""The tiers that `choose` tries on the records: scored, and priced without models that earlier tiers have asked."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from serve_app.core.types.policy import Tier
from serve_app.errors import SignalError
from serve_app.evaluation.analysis.candidates import Candidate, fitted_chows
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.statistics.curves import Floats
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier
from serve_app.evaluation.statistics.search import Spec
from serve_app.signals import ChowConfig, confidence

Specs: TypeAlias = tuple[Spec, ...]
"""A cascade: its tiers but the target."""
Chows: TypeAlias = Mapping[str, ChowConfig]
"""The token-level signals by name, with z-scores of all members that have log-probabilities."""
TOKEN_LEVEL = ("chow_sum", "chow_avg")


def chows_of(view: CascadeView) -> Chows:
    """Return the token-level signals with z-scores fitted on `view.fit`; empty if no member has log-probabilities."""
    fitted: dict[str, ChowConfig] = {}
    for model in dict.fromkeys(model for tier in view.tiers[:-1] for model in tier.models):
        try:
            chows = fitted_chows(view.dataset, [model], view.fit)
        except SignalError:
            continue
        for chow in chows:
            if chow.kind in TOKEN_LEVEL:
                before = fitted[chow.kind].zscores if chow.kind in fitted else {}
                fitted[chow.kind] = chow.model_copy(update={"zscores": {**before, **chow.zscores}})
    return fitted


def measured(spec: Spec, chows: Chows) -> bool:
    """Return whether all members have what the signal needs: confidences for a token-level one."""
    chow = chows.get(spec.signal)
    return chow is None or set(spec.members) <= chow.zscores.keys()


class TierBuilder:
    """Builds the candidates of one cascade view, with costs in one unit; each way to score a tier is scored once."""

    def __init__(self, view: CascadeView, chows: Chows, unit: Unit) -> None:
        self._view, self._chows, self._unit = view, chows, unit
        self._scored: dict[Spec, Candidate] = {}
        self._selected: dict[Spec, Floats] = {}
        self._costs: dict[tuple[Spec, frozenset[str]], Floats | None] = {}

    def cascade(self, specs: Specs) -> tuple[list[RecordedTier], RecordedTarget] | None:
        """Return the tiers before the target, and the target, as the search takes them; None if a cost is unknown."""
        asked_models: frozenset[str] = frozenset()
        tiers = []
        for spec in specs:
            candidate = self._candidate(spec)
            cost = self._cost(spec, asked_models.intersection(spec.members))
            if cost is None:
                return None
            tiers.append(RecordedTier(candidate.scored.scores, self._selected[spec], cost))
            asked_models = asked_models.union(spec.members)
        target = self._view.target
        return tiers, RecordedTarget(self._view.quality(target), self._view.target_cost[self._unit])

    def _cost(self, spec: Spec, asked_models: frozenset[str]) -> Floats | None:
        if (spec, asked_models) not in self._costs:
            self._costs[spec, asked_models] = self._view.dataset.tier_cost(self._candidate(spec).tier, asked_models)[
                self._unit
            ]
        return self._costs[spec, asked_models]

    def _candidate(self, spec: Spec) -> Candidate:
        if spec not in self._scored:
            candidate = self._score(spec)
            self._scored[spec], self._selected[spec] = candidate, self._view.selected_quality(candidate)
        return self._scored[spec]

    def _score(self, spec: Spec) -> Candidate:
        view, chow = self._view, self._chows.get(spec.signal)
        tier = Tier(
            spec.members,
            spec.signal,
            agreement="mean" if chow else "max",
            min_answers=min(2, len(spec.members)),
            compare=next(tier.compare for tier in view.tiers if spec.members[0] in tier.models),
        )
        if chow is not None:
            tier = replace(tier, confidence=confidence(chow), compare=None)
        return Candidate("semantic", view.dataset.replay.score(tier, chow, view.group.index), chow)
