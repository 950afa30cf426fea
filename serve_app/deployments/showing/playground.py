"""The playground's data about the cascades in force, and what they would have decided."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from time import perf_counter
from typing import get_args

from serve_app import __version__
from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.caller import Caller
from serve_app.api.service import unknown_model
from serve_app.config import AppConfig
from serve_app.core.protocols import Scorer
from serve_app.core.record_json import JsonObject
from serve_app.core.running.comparison import Comparison
from serve_app.core.types.answer import Answer
from serve_app.core.types.outcome import Call, TierResult
from serve_app.core.types.policy import Tier
from serve_app.deployments.opening.overrides import overridden
from serve_app.deployments.policies import Policies
from serve_app.errors import RequestError, choices, counted, quoted
from serve_app.signals import CompositeScorer
from serve_app.signals.composites.contradictions import Check
from serve_app.signals.composites.veto import VetoConfig

VETOED = "with a veto"
"""Name of the signal that a request makes of another by a veto of its own; no config can name one so."""


class ConfiguredPlayground:
    """The playground over a router's policies and scorer; `lexical` compares for tiers with a signal that stands in."""

    def __init__(self, config: AppConfig, policies: Policies, scorer: Scorer, lexical: Scorer) -> None:
        self._config = config
        self._policies = policies
        self._scorer = scorer
        self._lexical = lexical

    def about(self, caller: Caller) -> JsonObject:
        return {
            "version": __version__,
            "cascades": [{"id": id_, "tiers": self._tiers(id_)} for id_ in self._cascades(caller)],
            "models": [name for name in self._config.models if caller.may_ask(name)],
            "signals": self._config.selectable(),
            "vetoes": list(get_args(Check)),
        }

    def _cascades(self, caller: Caller) -> list[str]:
        return [id_ for id_ in self._config.cascades if caller.may_ask(id_)]

    def _tiers(self, id_: str) -> list[JsonObject]:
        configs, in_force = self._config.cascades[id_].tiers, self._policies.tiers[id_]
        return [
            _tier(tier, None if config.compare is None else config.compare.model_dump())
            for config, tier in zip(configs, in_force, strict=True)
        ]

    async def decide(
        self,
        model: str,
        number: int,
        answers: Sequence[Answer],
        options: CascadeOptions,
        veto: Sequence[Check],
        caller: Caller,
    ) -> TierResult:
        if model not in (allowed := self._cascades(caller)):
            raise unknown_model(f"There is no cascade {quoted(model)}. {choices(model, allowed)}", caller)
        members = overridden(self._config, self._policies, model, options)[:-1]
        if number >= len(members):
            raise RequestError(f"tier: {model!r} decides in {counted(len(members), 'tier')}, counted from 0.", "tier")
        tier, scorer = members[number], self._scorer
        if len(answers) != len(tier.models):
            raise RequestError(f"answers: needs {len(tier.models)}, one for each model of the tier.", "answers")
        if tier.confidence is not None:
            message = f"cascade.signal: {tier.signal!r} needs log-probabilities, which given answers do not have."
            raise RequestError(f"{message} {choices('', self._config.selectable())}", "cascade.signal")
        decision_tier = tier
        if veto and tier.signal is not None:
            scorer = CompositeScorer(scorer, {VETOED: VetoConfig(kind="veto", signal=tier.signal, by=list(veto))})
            decision_tier = replace(tier, signal=VETOED, stand_in=None)
        verdict = await Comparison(decision_tier, scorer, perf_counter, self._lexical).verdict(answers, options.force)
        calls = tuple(Call(name, answer) for name, answer in zip(tier.models, answers, strict=True))
        return verdict.result(tier, calls)


def _tier(tier: Tier, compare: JsonObject | None) -> JsonObject:
    body: JsonObject = {"models": list(tier.models)}
    if tier.signal is None:
        return body
    limits = tier.signal_range
    return body | {
        "signal": tier.signal,
        "threshold": tier.threshold,
        "agreement": tier.agreement,
        "select": tier.select,
        "compare": compare,
        "range": [limits.low, limits.high] if limits and isfinite(limits.low) and isfinite(limits.high) else None,
        "token_level": tier.confidence is not None,
    }
