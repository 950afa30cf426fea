"""All signals: the union of their configs, those with a name of their own, their builders, and the catalogue.

A new signal is one file, one line in `SignalConfig`, `_BUILDERS` and `DEFAULT_SIGNALS`, one line in the contract test.
What its kind needs (weights, log-probabilities, an environment) is declared once, on its config class, by the class
attributes of `base.SignalOptions`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeGuard

from pydantic import Field

from serve_app.core.types.signal_range import Range
from serve_app.signals import bleu, bleurt, chrf, exact, json_leaves, rouge, sbert
from serve_app.signals.base import CompositeOptions, Signal
from serve_app.signals.bleu import BleuConfig
from serve_app.signals.bleurt import BleurtConfig
from serve_app.signals.chow import ChowConfig
from serve_app.signals.chrf import ChrfConfig
from serve_app.signals.composites.blend import BlendConfig
from serve_app.signals.composites.composite import ByLengthConfig, MixConfig
from serve_app.signals.composites.veto import VetoConfig
from serve_app.signals.exact import ExactConfig
from serve_app.signals.json_leaves import JsonConfig
from serve_app.signals.rouge import RougeConfig
from serve_app.signals.sbert import SbertConfig

SignalConfig: TypeAlias = Annotated[
    ExactConfig | BleuConfig | RougeConfig | ChrfConfig | JsonConfig | SbertConfig | BleurtConfig,
    Field(discriminator="kind"),
]
"""Config of a signal that compares texts by itself."""

CompositeConfig: TypeAlias = MixConfig | ByLengthConfig | VetoConfig | BlendConfig
"""Config of a signal that is computed from other signals."""

SharedSignalConfig: TypeAlias = Annotated[
    ExactConfig
    | BleuConfig
    | RougeConfig
    | ChrfConfig
    | JsonConfig
    | SbertConfig
    | ChowConfig
    | MixConfig
    | ByLengthConfig
    | VetoConfig
    | BlendConfig,
    Field(discriminator="kind"),
]
"""Config of any signal that needs no environment of its own."""

AnySignalConfig: TypeAlias = Annotated[SharedSignalConfig | BleurtConfig, Field(discriminator="kind")]
"""Config of any signal, the token-level and the composite ones included."""

DEFAULT_SIGNALS: dict[
    str, ExactConfig | BleuConfig | RougeConfig | ChrfConfig | JsonConfig | SbertConfig | BleurtConfig
] = {
    "exact": ExactConfig(),
    "bleu": BleuConfig(),
    "rouge1": RougeConfig(kind="rouge1"),
    "rouge2": RougeConfig(kind="rouge2"),
    "rougeL": RougeConfig(kind="rougeL"),
    "chrf": ChrfConfig(),
    "json": JsonConfig(),
    "sbert": SbertConfig(),
    "sbert_mbert": SbertConfig(weights="hf://google-bert/bert-base-multilingual-cased"),
    "bleurt": BleurtConfig(),
}
"""Signals that a tier may name without an entry of their own in the config."""

TOKEN_SIGNALS: dict[str, ChowConfig] = {
    "chow_sum": ChowConfig(kind="chow_sum"),
    "chow_avg": ChowConfig(kind="chow_avg"),
    "chow_quantile": ChowConfig(kind="chow_quantile"),
}
"""Signals that judge one answer by its own log-probabilities; `confidence` makes the function."""

_BUILDERS: dict[str, Callable[[Any, Path | None], Signal]] = {
    "exact": lambda config, _: exact.build(config),
    "bleu": lambda config, _: bleu.build(config),
    "rouge1": lambda config, _: rouge.build(config),
    "rouge2": lambda config, _: rouge.build(config),
    "rougeL": lambda config, _: rouge.build(config),
    "chrf": lambda config, _: chrf.build(config),
    "json": lambda config, _: json_leaves.build(config),
    "sbert": sbert.build,
    "bleurt": bleurt.build,
}


def build_signal(config: SignalConfig, weights: Path | None = None) -> Signal:
    """Load the signal's libraries (and, for SBERT and BLEURT, the model in the local folder `weights`).

    Raises `SignalError` if a library is missing or the weights cannot be loaded.
    """
    return _BUILDERS[config.kind](config, weights)


# The class attributes decide; these three functions also narrow the type for the type checker.
def is_token_level(config: AnySignalConfig) -> TypeGuard[ChowConfig]:
    """Return whether a signal judges one answer by its own log-probabilities."""
    return config.token_level


def needs_weights(config: AnySignalConfig) -> TypeGuard[SbertConfig | BleurtConfig]:
    """Return whether a signal loads a model, whose source and checksum are its `weights` and `sha256`."""
    return config.needs_weights


def is_isolated(config: AnySignalConfig) -> TypeGuard[BleurtConfig]:
    """Return whether a signal needs a Python environment of its own."""
    return config.isolated


class SignalCatalogue(Mapping[str, AnySignalConfig]):
    """The signals that a config may name, built-in ones and a user's own, and how composites are made of others."""

    def __init__(self, signals: Mapping[str, AnySignalConfig]) -> None:
        self._signals = dict(signals)

    def __getitem__(self, name: str) -> AnySignalConfig:
        return self._signals[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._signals)

    def __len__(self) -> int:
        return len(self._signals)

    def plain(self) -> dict[str, SignalConfig]:
        """Return the signals that compare texts by themselves."""
        return {
            name: config
            for name, config in self.items()
            if not isinstance(config, CompositeConfig) and not isinstance(config, ChowConfig)
        }

    def token_level(self) -> dict[str, ChowConfig]:
        """Return the signals that judge one answer by its own log-probabilities."""
        return {name: config for name, config in self.items() if is_token_level(config)}

    def composites(self) -> dict[str, CompositeConfig]:
        """Return the signals that are computed from other signals."""
        return {name: config for name, config in self.items() if isinstance(config, CompositeConfig)}

    def blends(self) -> dict[str, BlendConfig]:
        """Return the signals that combine agreement with token confidence."""
        return {name: config for name, config in self.items() if isinstance(config, BlendConfig)}

    def components(self, name: str) -> list[str]:
        """Return the signals that a composite compares texts by; empty for any other signal."""
        composite = self.composites().get(name)
        return [] if composite is None else list(composite.components().values())

    def allowed_components(self, config: CompositeConfig) -> list[str]:
        """Return the signals that a composite may name: plain ones; a veto also mixes, others also mixes and vetoes."""
        kinds: tuple[type[CompositeOptions], ...] = (MixConfig, VetoConfig)
        if isinstance(config, kinds):
            kinds = (MixConfig,) if isinstance(config, VetoConfig) else ()
        return [*self.plain(), *(name for name, signal in self.items() if isinstance(signal, kinds))]

    def base(self, name: str) -> str | None:
        """Return the signal that a veto modifies, or None for any other signal."""
        config = self[name]
        return config.signal if isinstance(config, VetoConfig) else None

    def confidence_name(self, name: str) -> str | None:
        """Return the token-level signal that a signal reads: itself, a blend's confidence, or None."""
        if blend := self.blends().get(name):
            return blend.confidence
        return name if self[name].token_level else None

    def confidence_of(self, name: str) -> ChowConfig | None:
        """Return the token-level part of a signal, or None. Raises KeyError for an unknown name."""
        confidence = self.confidence_name(name)
        return None if confidence is None else self.token_level().get(confidence)

    def computed_for(self, name: str) -> list[str]:
        """Return the plain signals that must be computed for a signal: itself, or a composite's plain components."""
        if components := self.components(name):
            return [plain for component in components for plain in self.computed_for(component)]
        return [] if self[name].token_level else [name]

    def computed_of(self, name: str, texts: Sequence[str]) -> list[str]:
        """Return those of them that are computed for these texts, as `CompositeScorer` asks for them."""
        if composite := self.composites().get(name):
            return [plain for component in composite.chosen(texts) for plain in self.computed_of(component, texts)]
        return self.computed_for(name)

    def range_of(self, name: str, models: Sequence[str]) -> Range | None:
        """Return the bounds of a signal's values for `models`, or None. Raises KeyError for an unknown name."""
        parts = [self.range_of(component, models) for component in self.components(name)]
        return self[name].range_of(parts, models)

    def uses(self, name: str) -> set[str]:
        """Return the signal and all signals that it is made of, a blend's confidence included."""
        parts = {*self.components(name), self.confidence_name(name)} - {name, None}
        return {name}.union(*(self.uses(part) for part in parts if part is not None))
