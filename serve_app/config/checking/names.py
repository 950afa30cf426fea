"""Checks that every name in a config is defined in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic_core import InitErrorDetails, PydanticCustomError

from serve_app.config.cascades.cascade import CascadeConfig
from serve_app.config.cascades.remedies import SpeculationConfig
from serve_app.config.cascades.samples import sample_faults
from serve_app.config.cascades.tier import TierConfig
from serve_app.config.models import VllmLoraModel, VllmModel
from serve_app.config.services import STATE_STORE
from serve_app.core.sampling import base_name, parsed_name
from serve_app.errors import choices
from serve_app.signals import CompositeConfig, SbertConfig

if TYPE_CHECKING:
    from serve_app.config.app import AppConfig

RESERVED_NAMES = ("Router", "Scorer", STATE_STORE)
"""Deployments of ours; the others are called as their models."""


def _fault(sentence: str, *where: str | int) -> InitErrorDetails:
    """Build the error that pydantic reports for a value of the right type that is wrong nonetheless."""
    return InitErrorDetails(type=PydanticCustomError("names", "{text}", {"text": sentence}), loc=where, input={})


def faults(config: AppConfig) -> Iterator[InitErrorDetails]:
    """Yield a fault for every name in a config that is undefined there, or defined as something else."""
    for name in config.models:
        if name in RESERVED_NAMES:
            yield _fault("this name is taken by a deployment of the server itself", "models", name)
        if name in config.cascades:
            yield _fault("a model has this name too; an id must mean one thing", "cascades", name)
    yield from _faults_of_adapters(config)
    for name in config.isolated():
        if name in (*config.models, *RESERVED_NAMES):
            yield _fault("this signal runs in a deployment of its own, and another has this name", "signals", name)
    for name, composite in config.composites().items():
        yield from _faults_of_parts(config, name, composite)
    for id_, cascade in config.cascades.items():
        for number, tier in enumerate(cascade.tiers):
            yield from _faults_of(config, tier, ("cascades", id_, "tiers", number))
        yield from _faults_of_speculation(config, id_, cascade)
        yield from _faults_of_skip(config, id_, cascade)
    for sentence, where in sample_faults(config.cascades, lambda model: _greedy(config, model)):
        yield _fault(sentence, *where)


def _faults_of_speculation(config: AppConfig, id_: str, cascade: CascadeConfig) -> Iterator[InitErrorDetails]:
    if cascade.speculate is not None:
        for sentence in speculation_faults(config, cascade, cascade.speculate):
            yield _fault(sentence, "cascades", id_, "speculate")


def speculation_faults(config: AppConfig, cascade: CascadeConfig, speculate: SpeculationConfig) -> Iterator[str]:
    """Yield sentences why a cascade over these models cannot ask its tiers ahead by this rule."""
    names = dict.fromkeys(base_name(name) for tier in cascade.newly_asked()[1:] for name in tier)
    ahead = {name: config.models[name] for name in names if name in config.models}
    for name, model in ahead.items():
        if model.bills_cancelled and not speculate.billed:
            sentence = f"asks {name!r} ahead of its tier, which bills cancelled calls; set billed: true to do it"
            yield f"{sentence}, or cancelled_billed: false at the model"
        if speculate.when == "adaptive" and model.cost().usd(1, 1, 1.0) is None:
            yield f"adaptive weighs costs, and {name!r} has no price"


def _faults_of_skip(config: AppConfig, id_: str, cascade: CascadeConfig) -> Iterator[InitErrorDetails]:
    encoders = [name for name, signal in config.all_signals().items() if isinstance(signal, SbertConfig)]
    if cascade.skip is not None and (encoder := cascade.skip.encoder) not in encoders:
        yield _fault(f"no sbert signal {encoder!r}. {choices(encoder, encoders)}", "cascades", id_, "skip", "encoder")


def _faults_of_adapters(config: AppConfig) -> Iterator[InitErrorDetails]:
    bases = [name for name, model in config.models.items() if isinstance(model, VllmModel)]
    for name, model in config.models.items():
        if isinstance(model, VllmLoraModel) and model.base not in bases:
            base = config.models.get(model.base)
            problem = f"{model.base!r} has engine: {base.engine}" if base else f"no model {model.base!r}"
            sentence = f"{problem}; an adapter's base has engine: vllm. {choices(model.base, bases)}"
            yield _fault(sentence, "models", name, model.engine, "base")


def _faults_of_parts(config: AppConfig, name: str, signal: CompositeConfig) -> Iterator[InitErrorDetails]:
    """Yield a fault for each component that does not exist or that this composite may not name."""
    signals = config.all_signals()
    allowed = signals.allowed_components(signal)
    for path, component in signal.components().items():
        if component not in allowed:
            sentence = f"cannot be {component!r}. {choices(component, allowed)}"
            yield _fault(sentence, "signals", name, signal.kind, *path)
    confidence_name = signals.confidence_name(name)
    if confidence_name is not None and confidence_name not in signals.token_level():
        sentence = f"cannot be {confidence_name!r}. {choices(confidence_name, signals.token_level())}"
        yield _fault(sentence, "signals", name, signal.kind, "confidence")


def _faults_of(config: AppConfig, tier: TierConfig, where: tuple[str | int, ...]) -> Iterator[InitErrorDetails]:
    for number, member in enumerate(tier.members):
        model, path = (member, ()) if isinstance(member, str) else (member.model, ("model",))
        if model not in config.models:
            instead = choices(model, config.models)
            if (sample := parsed_name(model)) is not None:
                instead = f"Samples are written {{model: {sample[0]}, samples: {sample[1]}}}."
            yield _fault(f"no model {model!r}. {instead}", *where, "models", number, *path)
    if tier.signal is None:
        return
    signals = config.all_signals()
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
    elif stand_in is not None and stand_in.signal not in (lexical := config.lexical()):
        sentence = f"{stand_in.signal!r} is not a signal that the router computes. {choices(stand_in.signal, lexical)}"
        yield _fault(sentence, *where, "on_scorer_failure", "signal")
    elif config.confidence_of(tier.signal) and (silent := config.without_logprobs(tier.models)):
        for model in silent:
            needs = f"{tier.signal!r} needs log-probabilities, and {model!r} gives none"
            yield _fault(f"{needs}; if its endpoint does, set logprobs: true there", *where, "signal")
    elif len(set(map(base_name, tier.models))) > 1 and (rule := config.confidence_of(tier.signal)):
        # Models are sure of themselves to different degrees; the raw confidences of two do not compare.
        for model in (model for model in tier.models if model not in rule.zscores):
            yield _fault(
                f"{tier.signal!r} has no zscores for {model!r}, so models cannot be compared", *where, "signal"
            )


def _greedy(config: AppConfig, model: str) -> bool:
    """Return whether a model's own default is temperature 0."""
    served = config.models.get(config.served_by(model)) if model in config.models else None
    return getattr(served, "temperature", None) == 0
