"""Signals: how far texts agree (`Signal`), or how sure a model was of one answer (`Confidence`); one file a family."""

from serve_app.signals.base import Signal
from serve_app.signals.bleu import BleuConfig
from serve_app.signals.bleurt import BleurtConfig
from serve_app.signals.catalogue import (
    DEFAULT_SIGNALS,
    TOKEN_SIGNALS,
    AnySignalConfig,
    CompositeConfig,
    SharedSignalConfig,
    SignalCatalogue,
    SignalConfig,
    build_signal,
    is_isolated,
    is_token_level,
    needs_weights,
)
from serve_app.signals.chow import ChowConfig, ZScore, confidence, fit_zscores
from serve_app.signals.chrf import ChrfConfig
from serve_app.signals.composites.blend import BlendConfig, fit_blend
from serve_app.signals.composites.composite import ByLengthConfig, CompositeScorer, MixConfig
from serve_app.signals.composites.veto import VetoConfig
from serve_app.signals.exact import ExactConfig
from serve_app.signals.json_leaves import JsonConfig
from serve_app.signals.rouge import RougeConfig
from serve_app.signals.sbert import SbertConfig, SbertSignal

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
    "SbertSignal",
    "SharedSignalConfig",
    "Signal",
    "SignalCatalogue",
    "SignalConfig",
    "VetoConfig",
    "ZScore",
    "build_signal",
    "confidence",
    "fit_blend",
    "fit_zscores",
    "is_isolated",
    "is_token_level",
    "needs_weights",
]
