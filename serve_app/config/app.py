"""The `args` of the application, with every name in it checked, and what the server and the tools ask of them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Self, TypeAlias

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from serve_app.config.cascades.cascade import MEMBER_TIMEOUT_S, TARGET_TIMEOUT_S, CascadeConfig, TierConfig
from serve_app.config.cascades.remedies import SpeculationConfig
from serve_app.config.cascades.samples import all_samples, sample_faults
from serve_app.config.deployment import Autoscaling, DeploymentOptions, Strict
from serve_app.config.metrics import MetricConfig
from serve_app.config.models import DeployedModel, ModelConfig, VllmLoraModel, VllmModel
from serve_app.config.services import BleurtSettings, RouterConfig, ScorerConfig, SignalSettings
from serve_app.core.sampling import Sample, base_name, parsed_name
from serve_app.core.types.policy import Tier
from serve_app.engines import WeightsSettings
from serve_app.errors import choices
from serve_app.signals import (
    DEFAULT_SIGNALS,
    TOKEN_SIGNALS,
    ChowConfig,
    CompositeConfig,
    SbertConfig,
    SignalCatalogue,
    SignalConfig,
    confidence,
    needs_weights,
)
from serve_app.weights import NamedWeights


def _check_name(name: str) -> str:
    if "#" in name:
        raise ValueError("a name cannot have '#', which tells samples apart: qwen-7b#2 is the second of qwen-7b")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError("a name has up to 100 letters, digits, '.', '_' and '-', and begins with a letter or a digit")
    return name


Name: TypeAlias = Annotated[str, AfterValidator(_check_name)]
RESERVED_NAMES = ("Router", "Scorer")
"""Deployments of ours; the others are called as their models."""


def _fault(sentence: str, *where: str | int) -> InitErrorDetails:
    """Build the error that pydantic reports for a value of the right type that is wrong nonetheless."""
    return InitErrorDetails(type=PydanticCustomError("names", "{text}", {"text": sentence}), loc=where, input={})


class AppConfig(Strict):
    """The `args` of the application: models, signals and the cascades over them."""

    models: dict[Name, ModelConfig] = Field(min_length=1, description="Models by name; each is deployed once.")
    signals: dict[Name, SignalSettings] = Field({}, description="Signals with options of their own, by name.")
    cascades: dict[Name, CascadeConfig] = Field(min_length=1, description="Cascades by the model id that clients use.")
    metrics: dict[Name, MetricConfig] = Field(
        {}, description="Quality metrics with options of their own, by name; only evaluation reads them."
    )
    scorer: ScorerConfig = Field(ScorerConfig(), description="The deployment that compares answers.")
    router: RouterConfig = Field(RouterConfig(), description="The deployment that takes requests.")

    @field_validator("models")
    @classmethod
    def _adapters_take_after_their_bases(cls, models: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        filled = dict(models)
        for name, model in models.items():
            if isinstance(model, VllmLoraModel) and isinstance(base := models.get(model.base), VllmModel):
                filled[name] = model.over(base)
        return filled

    @model_validator(mode="after")
    def _names(self) -> Self:
        if faults := list(self._faults()):
            raise ValidationError.from_exception_data("AppConfig", faults)
        return self

    def _faults(self) -> Iterator[InitErrorDetails]:
        for name in self.models:
            if name in RESERVED_NAMES:
                yield _fault("this name is taken by a deployment of the server itself", "models", name)
            if name in self.cascades:
                yield _fault("a model has this name too; an id must mean one thing", "cascades", name)
        yield from self._faults_of_adapters()
        for name in self.isolated():
            if name in (*self.models, *RESERVED_NAMES):
                yield _fault("this signal runs in a deployment of its own, and another has this name", "signals", name)
        for name, composite in self.composites().items():
            yield from self._faults_of_parts(name, composite)
        for id_, cascade in self.cascades.items():
            for number, tier in enumerate(cascade.tiers):
                yield from self._faults_of(tier, ("cascades", id_, "tiers", number))
            yield from self._faults_of_speculation(id_, cascade)
            yield from self._faults_of_skip(id_, cascade)
        for sentence, where in sample_faults(self.cascades, self._greedy):
            yield _fault(sentence, *where)

    def _faults_of_speculation(self, id_: str, cascade: CascadeConfig) -> Iterator[InitErrorDetails]:
        if cascade.speculate is not None:
            for sentence in self.speculation_faults(cascade, cascade.speculate):
                yield _fault(sentence, "cascades", id_, "speculate")

    def speculation_faults(self, cascade: CascadeConfig, speculate: SpeculationConfig) -> Iterator[str]:
        """Yield why a cascade over these models cannot ask its tiers ahead by this rule, in sentences."""
        names = dict.fromkeys(base_name(name) for tier in cascade.newly_asked()[1:] for name in tier)
        ahead = {name: self.models[name] for name in names if name in self.models}
        for name, model in ahead.items():
            if model.bills_cancelled and not speculate.billed:
                sentence = f"asks {name!r} ahead of its tier, which bills cancelled calls; say billed: true to do it"
                yield f"{sentence}, or cancelled_billed: false at the model"
            if speculate.when == "adaptive" and model.cost().usd(1, 1, 1.0) is None:
                yield f"adaptive weighs costs, and {name!r} has no price"

    def _faults_of_skip(self, id_: str, cascade: CascadeConfig) -> Iterator[InitErrorDetails]:
        encoders = [name for name, signal in self.all_signals().items() if isinstance(signal, SbertConfig)]
        if cascade.skip is not None and (encoder := cascade.skip.encoder) not in encoders:
            yield _fault(
                f"no sbert signal {encoder!r}. {choices(encoder, encoders)}", "cascades", id_, "skip", "encoder"
            )

    def _faults_of_adapters(self) -> Iterator[InitErrorDetails]:
        bases = [name for name, model in self.models.items() if isinstance(model, VllmModel)]
        for name, model in self.models.items():
            if isinstance(model, VllmLoraModel) and model.base not in bases:
                named = self.models.get(model.base)
                what = f"{model.base!r} has engine: {named.engine}" if named else f"no model {model.base!r}"
                sentence = f"{what}; an adapter's base has engine: vllm. {choices(model.base, bases)}"
                yield _fault(sentence, "models", name, model.engine, "base")

    def _faults_of_parts(self, name: str, signal: CompositeConfig) -> Iterator[InitErrorDetails]:
        """Yield a fault for each component that does not exist or that this composite may not name."""
        signals = self.all_signals()
        allowed = signals.allowed_components(signal)
        for path, component in signal.components().items():
            if component not in allowed:
                sentence = f"cannot be {component!r}. {choices(component, allowed)}"
                yield _fault(sentence, "signals", name, signal.kind, *path)
        confidence_name = signals.confidence_name(name)
        if confidence_name is not None and confidence_name not in signals.token_level():
            sentence = f"cannot be {confidence_name!r}. {choices(confidence_name, signals.token_level())}"
            yield _fault(sentence, "signals", name, signal.kind, "confidence")

    def _faults_of(self, tier: TierConfig, where: tuple[str | int, ...]) -> Iterator[InitErrorDetails]:
        for number, member in enumerate(tier.members):
            model, path = (member, ()) if isinstance(member, str) else (member.model, ("model",))
            if model not in self.models:
                instead = choices(model, self.models)
                if (sample := parsed_name(model)) is not None:
                    instead = f"Samples are written {{model: {sample[0]}, samples: {sample[1]}}}."
                yield _fault(f"no model {model!r}. {instead}", *where, "models", number, *path)
        if tier.signal is None:
            return
        signals = self.all_signals()
        if tier.signal not in signals:
            yield _fault(f"no signal {tier.signal!r}. {choices(tier.signal, signals)}", *where, "signal")
        elif len(tier.models) == 1 and not signals[tier.signal].token_level:
            yield _fault(
                f"{tier.signal!r} compares answers, and there is one model. {choices('', signals.token_level())}",
                *where,
                "signal",
            )
        elif tier.min_answers == 1 and len(tier.models) > 1 and not signals[tier.signal].token_level:
            yield _fault(f"{tier.signal!r} compares answers, so at least 2 are needed", *where, "min_answers")
        elif tier.compare is not None and signals[tier.signal].token_level:
            yield _fault(f"has no effect: {tier.signal!r} scores each answer by itself", *where, "compare")
        elif (stand_in := tier.on_scorer_failure) is not None and signals[tier.signal].token_level:
            yield _fault(f"has no effect: {tier.signal!r} asks no scorer", *where, "on_scorer_failure")
        elif stand_in is not None and stand_in.signal not in (lexical := self.lexical()):
            sentence = f"{stand_in.signal!r} is no signal that the router computes. {choices(stand_in.signal, lexical)}"
            yield _fault(sentence, *where, "on_scorer_failure", "signal")
        elif self.confidence_of(tier.signal) and (silent := self.without_logprobs(tier.models)):
            for model in silent:
                needs = f"{tier.signal!r} needs log-probabilities, and {model!r} gives none"
                yield _fault(f"{needs}; if its endpoint does, say logprobs: true there", *where, "signal")
        elif len(set(map(base_name, tier.models))) > 1 and (rule := self.confidence_of(tier.signal)):
            # Models are sure of themselves to different degrees; the raw confidences of two do not compare.
            for model in (model for model in tier.models if model not in rule.zscores):
                yield _fault(
                    f"{tier.signal!r} has no zscores for {model!r}, so models cannot be compared", *where, "signal"
                )

    def _greedy(self, model: str) -> bool:
        """Return whether a model's own default is temperature 0."""
        served = self.models.get(self.served_by(model)) if model in self.models else None
        return getattr(served, "temperature", None) == 0

    def model(self, name: str) -> ModelConfig:
        """Return the config of a model, or of the one that a sample is of."""
        return self.models[base_name(name)]

    def asked(self) -> dict[str, ModelConfig]:
        """Return all that can be asked: the models, and the samples of them that tiers name."""
        return {**self.models, **{name: self.models[sample.base] for name, sample in self.samples().items()}}

    def samples(self) -> dict[str, Sample]:
        """Return the samples that tiers name, each once, with the seed of the model's config if theirs names none."""
        return {sample.name: self._seeded(sample) for sample in all_samples(self.cascades)}

    def _seeded(self, sample: Sample) -> Sample:
        """Return the sample with a seed if its model has one, which would make all samples the same answer."""
        own = getattr(self.models[self.served_by(sample.base)], "seed", None)
        return replace(sample, seed=own) if sample.seed is None else sample

    def without_logprobs(self, models: Iterable[str]) -> list[str]:
        """Return those of the models that give no log-probabilities."""
        bases = dict.fromkeys(map(base_name, models))
        return [name for name in bases if name in self.models and not self.models[name].honours_logprobs]

    def all_signals(self) -> SignalCatalogue:
        """Return the built-in signals and the user's own, which take precedence."""
        return SignalCatalogue({**DEFAULT_SIGNALS, **TOKEN_SIGNALS, "bleurt": BleurtSettings(), **self.signals})

    def lexical(self) -> dict[str, SignalConfig]:
        """Return the signals that need no model, which the router can compute itself."""
        return {name: signal for name, signal in self.all_signals().plain().items() if not signal.needs_weights}

    def standing_in(self) -> dict[str, SignalConfig]:
        """Return the signals that stand in for others whose scorer fails."""
        tiers = [tier for cascade in self.cascades.values() for tier in cascade.tiers]
        named = {tier.on_scorer_failure.signal for tier in tiers if tier.on_scorer_failure is not None}
        return {name: signal for name, signal in self.lexical().items() if name in named}

    def similarities(self) -> dict[str, SignalConfig]:
        """Return the signals that the scorer offers: those named anywhere, and all that need no model."""
        return {name: signal for name, signal in self._offered().items() if not signal.isolated}

    def isolated(self) -> dict[str, BleurtSettings]:
        """Return the signals that are named anywhere and need an environment, and so a deployment, of their own."""
        return {name: signal for name, signal in self._offered().items() if isinstance(signal, BleurtSettings)}

    def scorers(self, signal: str) -> set[str]:
        """Return the deployments that compute a signal: several for a composite, none for a token-level one."""
        signals = self.all_signals()
        return {name if signals[name].isolated else "Scorer" for name in signals.computed_for(signal)}

    def _offered(self) -> dict[str, SignalConfig]:
        signals = self.all_signals()
        named = {tier.signal for cascade in self.cascades.values() for tier in cascade.tiers} | set(self.signals)
        named |= {cascade.skip.encoder for cascade in self.cascades.values() if cascade.skip is not None}
        named |= {component for name in self.signals for component in signals.components(name)}
        return {name: signal for name, signal in signals.plain().items() if name in named or not signal.needs_weights}

    def encoders(self) -> dict[str, SbertConfig]:
        """Return the sbert signals by whose names clients get embeddings: those not called as a cascade or a model."""
        signals = self._offered().items()
        taken = {*self.cascades, *self.models}
        return {name: signal for name, signal in signals if isinstance(signal, SbertConfig) and name not in taken}

    def composites(self) -> dict[str, CompositeConfig]:
        """Return the signals that are computed from other signals."""
        return self.all_signals().composites()

    def selectable(self) -> list[str]:
        """Return the signals that a request may choose for itself: all that only compare texts."""
        return [*self._offered(), *(name for name, signal in self.composites().items() if not signal.needs_logprobs)]

    def confidence_of(self, signal: str) -> ChowConfig | None:
        """Return the token-level part of a signal, or None if it has none."""
        return self.all_signals().confidence_of(signal)

    def deployed(self) -> dict[str, DeployedModel]:
        """Return the models with a deployment of their own: all but adapters."""
        return {name: model for name, model in self.models.items() if not isinstance(model, VllmLoraModel)}

    def served_by(self, model: str) -> str:
        """Return the deployment that answers for a model: for a sample, its model's; for an adapter, its base."""
        config = self.model(model)
        return config.base if isinstance(config, VllmLoraModel) else base_name(model)

    def adapters(self, base: str) -> dict[str, VllmLoraModel]:
        """Return the adapters of a base model."""
        return {
            name: model
            for name, model in self.models.items()
            if isinstance(model, VllmLoraModel) and model.base == base
        }

    def deployments(self) -> dict[str, DeploymentOptions]:
        """Return the options of every deployment of the graph, by its name."""
        return {
            **{name: model.placed() for name, model in self.deployed().items()},
            **{name: signal.deployment for name, signal in self.isolated().items()},
            "Scorer": self.scorer.deployment,
            "Router": self._reporting(self.router.deployment),
        }

    def later_models(self) -> set[str]:
        """Return the deployments of the models that requests are deferred to: an adapter counts as its base."""
        later = [models for cascade in self.cascades.values() for models in cascade.newly_asked()[1:]]
        return {self.served_by(model) for models in later for model in models}

    def _reporting(self, router: DeploymentOptions) -> DeploymentOptions:
        """Return the router's options, autoscaling if a later model does, so that Serve collects its deferral rate.

        Serve collects metrics only from deployments that autoscale; the bounds here keep the number of replicas fixed.
        """
        options = [self.deployed()[name].deployment.autoscaling_config for name in self.later_models()]
        scaling = [autoscaling for autoscaling in options if autoscaling is not None]
        if router.autoscaling_config is not None or not scaling:
            return router
        fastest = min(scaling, key=lambda autoscaling: autoscaling.metrics_interval_s)
        fixed = Autoscaling(
            min_replicas=router.num_replicas or 1,
            max_replicas=router.num_replicas or 1,
            metrics_interval_s=fastest.metrics_interval_s,
            look_back_period_s=fastest.look_back_period_s,
        )
        return router.model_copy(update={"num_replicas": None, "autoscaling_config": fixed})

    def weights(self) -> list[NamedWeights]:
        """Return name, source or sources, and checksum of every file or folder that the models and the scorer load."""
        return [
            *((name, it.weights, it.sha256) for name, it in self.models.items() if isinstance(it, WeightsSettings)),
            *((name, it.weights, it.sha256) for name, it in self._offered().items() if needs_weights(it)),
        ]

    def thresholds(self) -> dict[str, list[float]]:
        """Return the first thresholds of each cascade, one for each tier but the last."""
        return {
            id_: [tier.threshold for tier in cascade.tiers[:-1] if tier.threshold is not None]
            for id_, cascade in self.cascades.items()
        }

    def tiers(self, cascade: str, thresholds: Sequence[float], signal: str | None = None) -> tuple[Tier, ...]:
        """Return a cascade as the decision core takes it, with these thresholds.

        A `signal` replaces that of each tier with several models; a tier of one model has no answers to compare.
        """
        *members, target = self.cascades[cascade].tiers
        if signal is not None:
            members = [tier.model_copy(update={"signal": signal} if tier.models[1:] else {}) for tier in members]
        built = [self._tier(tier, threshold) for tier, threshold in zip(members, thresholds, strict=True)]
        return (*built, Tier(tuple(target.models), timeout_s=target.timeout_s or TARGET_TIMEOUT_S))

    def _tier(self, tier: TierConfig, threshold: float) -> Tier:
        assert tier.signal is not None
        signal, rule = self.all_signals()[tier.signal], self.confidence_of(tier.signal)
        return Tier(
            models=tuple(tier.models),
            signal=tier.signal,
            threshold=threshold,
            agreement=tier.agreement or ("mean" if signal.token_level else "max"),
            direction=tier.direction,
            select=tier.select,
            min_answers=tier.min_answers or min(2, len(tier.models)),
            truncated=tier.truncated,
            timeout_s=tier.timeout_s or MEMBER_TIMEOUT_S,
            quorum=tier.quorum,
            tier_timeout_s=tier.tier_timeout_s,
            confidence=confidence(rule) if rule else None,
            blend=signal.blend_rule(),
            compare=tier.compare.view() if tier.compare else None,
            signal_range=self.all_signals().range_of(tier.signal, tier.models),
            early=tier.early,
            stand_in=tier.on_scorer_failure.stand_in() if tier.on_scorer_failure else None,
        )
