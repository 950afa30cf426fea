"""The `args` of the application, with every name in it checked, and what the server and the tools derive from them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Self, TypeAlias

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from serve_app.config.cascades.cascade import CascadeConfig
from serve_app.config.cascades.samples import all_samples
from serve_app.config.cascades.tier import MEMBER_TIMEOUT_S, TARGET_TIMEOUT_S, TierConfig
from serve_app.config.checking.names import faults
from serve_app.config.deployment import Autoscaling, DeploymentOptions
from serve_app.config.metrics import MetricConfig
from serve_app.config.models import DeployedModel, ModelConfig, VllmLoraModel, VllmModel
from serve_app.config.services import (
    STATE_STORE,
    BleurtSettings,
    RouterConfig,
    ScorerConfig,
    SignalSettings,
    StateStoreConfig,
)
from serve_app.config.strict import Strict
from serve_app.core.sampling import Sample, base_name
from serve_app.core.types.policy import Tier
from serve_app.engines import WeightsSettings
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
    state_store: StateStoreConfig = Field(
        StateStoreConfig(), description="The deployment that router replicas share, if there may be several."
    )

    @field_validator("models")
    @classmethod
    def _adapters_take_after_their_bases(cls, models: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        result = dict(models)
        for name, model in models.items():
            if isinstance(model, VllmLoraModel) and isinstance(base := models.get(model.base), VllmModel):
                result[name] = model.over(base)
        return result

    @model_validator(mode="after")
    def _names(self) -> Self:
        if problems := list(faults(self)):
            raise ValidationError.from_exception_data("AppConfig", problems)
        return self

    def model(self, name: str) -> ModelConfig:
        """Return the config of a model, or of the one that a sample is of."""
        return self.models[base_name(name)]

    def models_and_samples(self) -> dict[str, ModelConfig]:
        """Return all that can be asked: the models, and the samples of them that tiers name."""
        return {**self.models, **{name: self.models[sample.base] for name, sample in self.samples().items()}}

    def samples(self) -> dict[str, Sample]:
        """Return the samples that tiers name, each once, with the seed of the model's config if theirs names none."""
        return {sample.name: self._seeded(sample) for sample in all_samples(self.cascades)}

    def _seeded(self, sample: Sample) -> Sample:
        """Return the sample with a seed if its model has one, which would make all samples the same answer."""
        seed = getattr(self.models[self.served_by(sample.base)], "seed", None)
        return replace(sample, seed=seed) if sample.seed is None else sample

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
        names = {tier.on_scorer_failure.signal for tier in tiers if tier.on_scorer_failure is not None}
        return {name: signal for name, signal in self.lexical().items() if name in names}

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
        names = {tier.signal for cascade in self.cascades.values() for tier in cascade.tiers} | set(self.signals)
        names |= {cascade.skip.encoder for cascade in self.cascades.values() if cascade.skip is not None}
        names |= {component for name in self.signals for component in signals.components(name)}
        return {name: signal for name, signal in signals.plain().items() if name in names or not signal.needs_weights}

    def encoders(self) -> dict[str, SbertConfig]:
        """Return the sbert signals by whose names clients get embeddings: those not called as a cascade or a model."""
        signals = self._offered().items()
        reserved_names = {*self.cascades, *self.models}
        return {
            name: signal for name, signal in signals if isinstance(signal, SbertConfig) and name not in reserved_names
        }

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
        router = self._reporting(self.router.deployment)
        return {
            **{name: model.placed() for name, model in self.deployed().items()},
            **{name: signal.deployment for name, signal in self.isolated().items()},
            "Scorer": self.scorer.deployment,
            **({STATE_STORE: self.state_store.deployment} if router.most_replicas > 1 else {}),
            "Router": router,
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
            *(
                (name, model.weights, model.sha256)
                for name, model in self.models.items()
                if isinstance(model, WeightsSettings)
            ),
            *(
                (name, signal.weights, signal.sha256)
                for name, signal in self._offered().items()
                if needs_weights(signal)
            ),
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
