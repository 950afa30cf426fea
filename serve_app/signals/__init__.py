"""Signals: how far texts agree (`Signal`), or how sure a model was of one answer (`Confidence`); one file a family.

A new signal is one file, one line in `SignalConfig`, `_BUILDERS` and `DEFAULT_SIGNALS`, one line in the contract test.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from serve_app.signals import bleu, bleurt, chrf, exact, json_leaves, rouge, sbert
from serve_app.signals.base import Signal
from serve_app.signals.blend import BlendConfig, fit_blend
from serve_app.signals.bleu import BleuConfig
from serve_app.signals.bleurt import BleurtConfig
from serve_app.signals.chow import ChowConfig, ZScore, confidence, fit_zscores
from serve_app.signals.chrf import ChrfConfig
from serve_app.signals.composite import ByLengthConfig, CompositeConfig, CompositeScorer, MixConfig, parts_of
from serve_app.signals.exact import ExactConfig
from serve_app.signals.json_leaves import JsonConfig
from serve_app.signals.rouge import RougeConfig
from serve_app.signals.sbert import SbertConfig

__all__ = [
    "DEFAULT_SIGNALS",
    "TOKEN_SIGNALS",
    "AnySignalConfig",
    "BlendConfig",
    "BleuConfig",
    "BleurtConfig",
    "ByLengthConfig",
    "ChowConfig",
    "ChrfConfig",
    "CompositeConfig",
    "CompositeScorer",
    "ExactConfig",
    "JsonConfig",
    "MixConfig",
    "RougeConfig",
    "SbertConfig",
    "SharedSignalConfig",
    "Signal",
    "SignalConfig",
    "ZScore",
    "build_signal",
    "confidence",
    "fit_blend",
    "fit_zscores",
    "parts_of",
]

SignalConfig: TypeAlias = Annotated[
    ExactConfig | BleuConfig | RougeConfig | ChrfConfig | JsonConfig | SbertConfig | BleurtConfig,
    Field(discriminator="kind"),
]
"""What a user can write for a signal that compares texts."""

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
    | BlendConfig,
    Field(discriminator="kind"),
]
"""The same, of signals that need no environment of their own."""

AnySignalConfig: TypeAlias = Annotated[SharedSignalConfig | BleurtConfig, Field(discriminator="kind")]
"""What a user can write for any signal, the token-level ones and those made of others included."""

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
    """Load the libraries (and, for SBERT and BLEURT, the model in the local folder `weights`): a signal, ready to use.

    Raises `SignalError` where a library is missing or the weights cannot be loaded.
    """
    return _BUILDERS[config.kind](config, weights)
