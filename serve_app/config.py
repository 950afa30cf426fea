"""Everything a user can write in YAML. Values only: reading a configuration fetches, loads and starts nothing."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import AfterValidator, Field, PositiveInt, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from serve_app.core.cost import ModelCost
from serve_app.core.types import Tier
from serve_app.engines import LlamaCppConfig, OpenAiApiConfig, ReplayConfig, Seq2SeqConfig, VllmConfig, WeightsSettings
from serve_app.errors import choices
from serve_app.scaling import Autoscaling, DeploymentOptions, Strict
from serve_app.signals import (
    DEFAULT_SIGNALS,
    TOKEN_SIGNALS,
    AnySignalConfig,
    BlendConfig,
    BleurtConfig,
    ByLengthConfig,
    ChowConfig,
    CompositeConfig,
    MixConfig,
    SbertConfig,
    SharedSignalConfig,
    SignalConfig,
    confidence,
    parts_of,
)
from serve_app.workers import check_workers, placed


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError("a name has up to 100 letters, digits, '.', '_' and '-', and begins with a letter or a digit")
    return name


Name: TypeAlias = Annotated[str, AfterValidator(_check_name)]
Kind = TypeVar("Kind")
MEMBER_TIMEOUT_S, TARGET_TIMEOUT_S = 120.0, 600.0
"""So that a model whose replicas are gone for good makes no request wait for ever."""
RESERVED_NAMES = ("Router", "Scorer")
"""Deployments of ours; the others are called as their models."""


class ModelFacts(Strict):
    """What is written about every model, whatever its engine."""

    parameters: float | None = Field(None, gt=0, description="Number of parameters, for the cost in FLOPs.")
    active_parameters: float | None = Field(None, gt=0, description="Active for one token, in a mixture of experts.")
    input_usd: float = Field(0, ge=0, description="US dollars for a million prompt tokens.")
    output_usd: float = Field(0, ge=0, description="US dollars for a million generated tokens.")
    devices: float = Field(1, gt=0, description="Devices (GPUs, or CPUs) that one replica holds, for device-seconds.")
    deployment: DeploymentOptions = DeploymentOptions()

    def cost(self) -> ModelCost:
        """The figures that `core.cost` needs."""
        parameters = self.active_parameters or self.parameters
        return ModelCost(parameters, self.input_usd, self.output_usd, self.devices)

    def placed(self) -> DeploymentOptions:
        """The deployment's options, with what the engine itself needs room for."""
        return self.deployment


class LlamaCppModel(ModelFacts, LlamaCppConfig):
    """A GGUF model, run by llama.cpp inside the replica."""


class OpenAiApiModel(ModelFacts, OpenAiApiConfig):
    """A model behind an OpenAI-compatible endpoint."""


class ReplayModel(ModelFacts, ReplayConfig):
    """Recorded or scripted answers."""


class Seq2SeqModel(ModelFacts, Seq2SeqConfig):
    """An encoder-decoder model, run by transformers inside the replica."""

    encoder_parameters: float | None = Field(
        None, gt=0, description="Of `parameters`: the encoder's, which read the prompt; the rest write the answer."
    )

    @model_validator(mode="after")
    def _encoder_is_a_part(self) -> Self:
        if self.encoder_parameters is not None and self.encoder_parameters >= (self.parameters or 0):
            raise ValueError("encoder_parameters must be less than parameters, of which they are a part")
        return self

    def cost(self) -> ModelCost:
        whole = super().cost()
        if self.encoder_parameters is None or whole.parameters is None:
            return whole
        decoder = whole.parameters - self.encoder_parameters
        return replace(whole, parameters=decoder, prompt_parameters=self.encoder_parameters)


class VllmModel(ModelFacts, VllmConfig):
    """A model that vLLM runs, on as many GPUs as it has workers."""

    @model_validator(mode="after")
    def _room_for_workers(self) -> Self:
        check_workers(self.deployment, self.workers, gpu=self.device == "gpu")
        return self

    def placed(self) -> DeploymentOptions:
        return placed(self.deployment, self.worker_bundles(), self.worker_strategy)


ModelConfig: TypeAlias = Annotated[
    LlamaCppModel | OpenAiApiModel | ReplayModel | Seq2SeqModel | VllmModel, Field(discriminator="engine")
]


class BleurtSettings(BleurtConfig):
    """BLEURT, and the deployment that it runs in: it needs an environment of its own."""

    deployment: DeploymentOptions = DeploymentOptions(max_ongoing_requests=256)


SignalSettings: TypeAlias = Annotated[SharedSignalConfig | BleurtSettings, Field(discriminator="kind")]


class TierConfig(Strict):
    """Models asked together, and how their answers are judged. The last tier names the target and nothing else."""

    models: list[str] = Field(min_length=1, description="Names of models; a tie goes to the one named first.")
    signal: str | None = Field(None, description="What measures agreement: a built-in signal or one under `signals`.")
    threshold: float | None = Field(None, description="Accept if the agreement is at least this.")
    agreement: Literal["max", "mean"] | None = Field(
        None, description="The best answer's score or the mean of all. Default: max, for token-level signals mean."
    )
    direction: Literal["both", "hypothesis", "reference"] = Field(
        "both", description="Average S_ij and S_ji, or take answer i as the hypothesis or as the reference only."
    )
    select: str | None = Field(None, description="Always return this member's answer; the others only decide.")
    min_answers: PositiveInt | None = Field(None, description="Fewer answers than this defer. Default: 2, or 1 of 1.")
    truncated: Literal["keep", "discard"] = Field("keep", description="What to do with answers cut at max_tokens.")
    timeout_s: float | None = Field(
        None, gt=0, description="Seconds after which a model counts as failed. Default: 120, for the target 600."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.models)) < len(self.models):
            raise ValueError("models: the same model stands there twice")
        if self.select is not None and self.select not in self.models:
            raise ValueError(f"select: {self.select!r} is not one of this tier's models ({', '.join(self.models)})")
        if self.min_answers is not None and self.min_answers > len(self.models):
            raise ValueError(f"min_answers ({self.min_answers}) is more than the tier has models ({len(self.models)})")
        return self


class CascadeConfig(Strict):
    """An ordered list of tiers, served as a model id of its own."""

    tiers: list[TierConfig] = Field(min_length=1)
    on_target_failure: Literal["error", "best_member"] = Field(
        "error", description="Fail with the target, or let the best member answer stand in (and say so in the record)."
    )

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        *members, target = self.tiers
        for number, tier in enumerate(members):
            if tier.signal is None or tier.threshold is None:
                raise ValueError(f"tiers[{number}]: needs a signal and a threshold; only the last tier always answers")
        written = target.model_fields_set - {"models", "timeout_s"}
        if len(target.models) != 1 or written:
            extra = f" It has {', '.join(sorted(written))}, which mean nothing there." if written else ""
            raise ValueError(f"the last tier is the target: one model, perhaps a timeout_s, and nothing else.{extra}")
        models = [model for tier in self.tiers for model in tier.models]
        if repeated := {model for model in models if models.count(model) > 1}:
            raise ValueError(f"{min(repeated)!r} stands in two tiers; a model is asked once")
        return self


class ScorerConfig(Strict):
    """The deployment that computes similarities for every cascade."""

    max_batch_texts: PositiveInt = Field(256, description="Texts scored in one go; more wait for the next.")
    timeout_s: float = Field(30, gt=0, description="Seconds after which a request is deferred without its agreement.")
    deployment: DeploymentOptions = DeploymentOptions(max_ongoing_requests=256)


class TracingConfig(Strict):
    """OpenTelemetry spans of requests, and where they are sent."""

    endpoint: str = Field(
        pattern="^https?://[^ ]+$",
        description="A collector's OTLP over HTTP, such as http://127.0.0.1:4318; /v1/traces is added.",
    )
    sample_ratio: float = Field(
        1, ge=0, le=1, description="Share of requests traced; where a client's traceparent says whether, that holds."
    )


class RouterConfig(Strict):
    """The deployment that takes HTTP requests and runs cascades."""

    keepalive_s: float = Field(10, gt=0, description="Seconds between comment lines that keep a waiting stream open.")
    unavailable_after_s: float = Field(
        10, ge=0, description="A model whose replicas are gone fails its requests at once after so many seconds."
    )
    log_decisions: bool = Field(False, description="Log every decision record (without texts) as one line of JSON.")
    tracing: TracingConfig | None = None
    deployment: DeploymentOptions = DeploymentOptions(max_ongoing_requests=1000)


def _fault(sentence: str, *where: str | int) -> InitErrorDetails:
    """What pydantic reports for a value whose own type is right."""
    return InitErrorDetails(type=PydanticCustomError("names", "{text}", {"text": sentence}), loc=where, input={})


class AppConfig(Strict):
    """The `args` of the application: models, signals and the cascades over them."""

    models: dict[Name, ModelConfig] = Field(min_length=1)
    signals: dict[Name, SignalSettings] = Field({}, description="Signals with options of their own, by name.")
    cascades: dict[Name, CascadeConfig] = Field(min_length=1)
    scorer: ScorerConfig = ScorerConfig()
    router: RouterConfig = RouterConfig()

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
        for name in self.isolated():
            if name in (*self.models, *RESERVED_NAMES):
                yield _fault("this signal runs in a deployment of its own, and another has this name", "signals", name)
        for name, signal in self.signals.items():
            yield from self._faults_of_parts(name, signal)
        for id_, cascade in self.cascades.items():
            for number, tier in enumerate(cascade.tiers):
                yield from self._faults_of(tier, ("cascades", id_, "tiers", number))

    def _faults_of_parts(self, name: str, signal: AnySignalConfig) -> Iterator[InitErrorDetails]:
        """A signal made of others names some that compare texts; a choice by length and a blend may name a mix."""
        if not isinstance(signal, CompositeConfig):
            return
        allowed = [*self._plain(), *(() if isinstance(signal, MixConfig) else self._named(MixConfig))]
        for number, part in enumerate(parts_of(signal)):
            where: dict[str, tuple[str | int, ...]] = {
                "mix": ("parts", number, "signal"),
                "by_length": ("cases", number, "signal"),
                "blend": ("agreement",),
            }
            if part not in allowed:
                sentence = f"cannot be {part!r}. {choices(part, allowed)}"
                yield _fault(sentence, "signals", name, signal.kind, *where[signal.kind])
        if isinstance(signal, BlendConfig) and signal.confidence not in self._token_level():
            sentence = f"cannot be {signal.confidence!r}. {choices(signal.confidence, self._token_level())}"
            yield _fault(sentence, "signals", name, "blend", "confidence")

    def _faults_of(self, tier: TierConfig, where: tuple[str | int, ...]) -> Iterator[InitErrorDetails]:
        for number, model in enumerate(tier.models):
            if model not in self.models:
                yield _fault(f"no model {model!r}. {choices(model, self.models)}", *where, "models", number)
        if tier.signal is None:
            return
        if tier.signal not in self.all_signals():
            yield _fault(f"no signal {tier.signal!r}. {choices(tier.signal, self.all_signals())}", *where, "signal")
        elif (
            tier.min_answers == 1
            and len(tier.models) > 1
            and not isinstance(self.all_signals()[tier.signal], ChowConfig)
        ):
            yield _fault(f"{tier.signal!r} compares answers, so at least 2 are needed", *where, "min_answers")
        elif self.confidence_of(tier.signal) and (silent := self.without_logprobs(tier.models)):
            for model in silent:
                needs = f"{tier.signal!r} needs log-probabilities, and {model!r} gives none"
                yield _fault(f"{needs}; if its endpoint does, say logprobs: true there", *where, "signal")
        elif len(tier.models) > 1 and (rule := self.confidence_of(tier.signal)):
            # Models are sure of themselves to different degrees; the raw confidences of two do not compare.
            for model in (model for model in tier.models if model not in rule.zscores):
                yield _fault(
                    f"{tier.signal!r} has no zscores for {model!r}, so models cannot be compared", *where, "signal"
                )

    def without_logprobs(self, models: Iterable[str]) -> list[str]:
        """Those of the models that give no log-probabilities."""
        return [name for name in models if name in self.models and not self.models[name].honours_logprobs]

    def all_signals(self) -> dict[str, AnySignalConfig]:
        """Built-in signals and the user's own, which come first."""
        return {**DEFAULT_SIGNALS, **TOKEN_SIGNALS, "bleurt": BleurtSettings(), **self.signals}

    def similarities(self) -> dict[str, SignalConfig]:
        """The signals that the scorer offers: those that are named anywhere, and all that need no model."""
        return {name: signal for name, signal in self._offered().items() if not isinstance(signal, BleurtConfig)}

    def isolated(self) -> dict[str, BleurtSettings]:
        """The signals that are named anywhere and need an environment, and so a deployment, of their own."""
        return {name: signal for name, signal in self._offered().items() if isinstance(signal, BleurtSettings)}

    def scorers(self, signal: str) -> set[str]:
        """The deployments that compute a signal: several where it is made of others, none for a token-level one."""
        config = self.all_signals()[signal]
        if isinstance(config, ChowConfig):
            return set()
        if parts := parts_of(config):
            return set().union(*map(self.scorers, parts))
        return {signal if isinstance(config, BleurtConfig) else "Scorer"}

    def _offered(self) -> dict[str, SignalConfig]:
        named = {tier.signal for cascade in self.cascades.values() for tier in cascade.tiers} | set(self.signals)
        named |= {part for signal in self.signals.values() for part in parts_of(signal)}
        plain = self._plain()
        return {
            name: signal
            for name, signal in plain.items()
            if name in named or not isinstance(signal, SbertConfig | BleurtConfig)
        }

    def composites(self) -> dict[str, CompositeConfig]:
        """The signals that are made of others."""
        return self._named(MixConfig) | self._named(ByLengthConfig) | self._named(BlendConfig)

    def selectable(self) -> list[str]:
        """The signals that a request may choose for itself: all that only compare texts."""
        return [*self._offered(), *self._named(MixConfig), *self._named(ByLengthConfig)]

    def _token_level(self) -> dict[str, ChowConfig]:
        return {name: signal for name, signal in self.all_signals().items() if isinstance(signal, ChowConfig)}

    def confidence_of(self, signal: str) -> ChowConfig | None:
        """The token-level part of a signal, if it has one."""
        config = self.all_signals()[signal]
        return self._token_level().get(config.confidence if isinstance(config, BlendConfig) else signal)

    def _plain(self) -> dict[str, SignalConfig]:
        """Signals that compare texts and are not made of others."""
        return {
            name: signal
            for name, signal in self.all_signals().items()
            if not isinstance(signal, ChowConfig | CompositeConfig)
        }

    def _named(self, kind: type[Kind]) -> dict[str, Kind]:
        return {name: signal for name, signal in self.signals.items() if isinstance(signal, kind)}

    def deployments(self) -> dict[str, DeploymentOptions]:
        """The options of every deployment of the graph, by its name."""
        return {
            **{name: model.placed() for name, model in self.models.items()},
            **{name: signal.deployment for name, signal in self.isolated().items()},
            "Scorer": self.scorer.deployment,
            "Router": self._reporting(self.router.deployment),
        }

    def later_models(self) -> set[str]:
        """The models that requests are deferred to."""
        return {model for cascade in self.cascades.values() for tier in cascade.tiers[1:] for model in tier.models}

    def _reporting(self, router: DeploymentOptions) -> DeploymentOptions:
        """The router's options such that Serve asks it how much is deferred, where a later tier's model scales by it.

        Serve asks only deployments that scale, too: from as many replicas to as many.
        """
        options = [self.models[name].deployment.autoscaling_config for name in self.later_models()]
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

    def weights(self) -> list[tuple[str, str, str | None]]:
        """Name, source and checksum of every file or folder that the models and the scorer load."""
        users = [*self.models.items(), *self._offered().items()]
        return [
            (name, user.weights, user.sha256)
            for name, user in users
            if isinstance(user, WeightsSettings | SbertConfig | BleurtConfig)
        ]

    def thresholds(self) -> dict[str, list[float]]:
        """The first thresholds of each cascade, one for each tier but the last."""
        return {
            id_: [tier.threshold for tier in cascade.tiers[:-1] if tier.threshold is not None]
            for id_, cascade in self.cascades.items()
        }

    def tiers(self, cascade: str, thresholds: list[float]) -> tuple[Tier, ...]:
        """A cascade as the decision core takes it, with the thresholds in force."""
        *members, target = self.cascades[cascade].tiers
        built = [self._tier(tier, threshold) for tier, threshold in zip(members, thresholds, strict=True)]
        return (*built, Tier(tuple(target.models), timeout_s=target.timeout_s or TARGET_TIMEOUT_S))

    def _tier(self, tier: TierConfig, threshold: float) -> Tier:
        assert tier.signal is not None
        signal, rule = self.all_signals()[tier.signal], self.confidence_of(tier.signal)
        return Tier(
            models=tuple(tier.models),
            signal=tier.signal,
            threshold=threshold,
            agreement=tier.agreement or ("mean" if isinstance(signal, ChowConfig) else "max"),
            direction=tier.direction,
            select=tier.select,
            min_answers=tier.min_answers or min(2, len(tier.models)),
            truncated=tier.truncated,
            timeout_s=tier.timeout_s or MEMBER_TIMEOUT_S,
            confidence=confidence(rule) if rule else None,
            blend=signal.rule() if isinstance(signal, BlendConfig) else None,
        )


class Calibrated(Strict):
    """Where a cascade's thresholds come from, as `cascade calibrate` wrote it."""

    id: str = Field(description="Named in every decision record that was decided under it.")
    thresholds: list[float] = Field(description="Those it is about; with others in force it is refused.")
    wish: str = Field("", description="What was asked for, in a sentence.")
    deferral_rate: tuple[float, float, float] | None = Field(
        None, description="Share of requests that the first tier should defer, and its 95% interval: drift shows by it."
    )
    found: dict[str, Any] = Field({}, description="Data, examples and intervals, for people to read.")


class RouterSettings(Strict):
    """The router's `user_config`: what `serve deploy` changes without restarting a replica."""

    thresholds: dict[str, list[float]] = Field({}, description="For each cascade, one for each tier but the last.")
    calibrations: dict[str, Calibrated] = Field({}, description="For each cascade that has been calibrated.")

    def applied_to(self, config: AppConfig) -> dict[str, list[float]]:
        """The thresholds in force: these over the first ones. ValueError where they do not fit the cascades."""
        merged = config.thresholds()
        for id_, row in self.thresholds.items():
            if id_ not in merged:
                raise ValueError(f"thresholds.{id_}: no such cascade. {choices(id_, list(merged))}".rstrip("."))
            if len(row) != len(merged[id_]):
                wanted = len(merged[id_])
                expected = f"{wanted} number{'' if wanted == 1 else 's'}, one for each tier but the last"
                raise ValueError(f"thresholds.{id_}: needs {expected}, got {len(row)}")
            merged[id_] = row
        for id_, calibrated in self.calibrations.items():
            if id_ not in merged:
                raise ValueError(f"calibrations.{id_}: no such cascade. {choices(id_, list(merged))}".rstrip("."))
            if calibrated.thresholds != merged[id_]:
                raise ValueError(f"calibrations.{id_}: is about {calibrated.thresholds}, not about {merged[id_]}")
        return merged
