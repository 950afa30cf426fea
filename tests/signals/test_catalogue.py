import subprocess
import sys
from math import inf, nan

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from serve_app.core.types.signal_range import Range
from serve_app.errors import SignalError
from serve_app.signals import (
    DEFAULT_SIGNALS,
    TOKEN_SIGNALS,
    AnySignalConfig,
    BlendConfig,
    BleuConfig,
    ByLengthConfig,
    ChowConfig,
    CompositeConfig,
    MixConfig,
    RougeConfig,
    SbertConfig,
    SignalCatalogue,
    SignalConfig,
    VetoConfig,
    ZScore,
    build_signal,
)
from serve_app.signals.composites.composite import LengthCase, MixPart

SIGNAL: TypeAdapter[SignalConfig] = TypeAdapter(SignalConfig)
ANY_SIGNAL: TypeAdapter[AnySignalConfig] = TypeAdapter(AnySignalConfig)


def test_names() -> None:
    names = ["exact", "bleu", "rouge1", "rouge2", "rougeL", "chrf", "json", "sbert", "sbert_mbert", "bleurt"]
    assert list(DEFAULT_SIGNALS) == names
    assert list(TOKEN_SIGNALS) == ["chow_sum", "chow_avg", "chow_quantile"]
    for name, config in {**DEFAULT_SIGNALS, **TOKEN_SIGNALS}.items():
        assert config.kind == {"sbert_mbert": "sbert"}.get(name, name)


@pytest.mark.parametrize(
    ("written", "config"),
    [
        ({"kind": "bleu", "tokenize": "zh"}, BleuConfig(tokenize="zh")),
        ({"kind": "rouge2", "stemmer": True}, RougeConfig(kind="rouge2", stemmer=True)),
        ({"kind": "sbert", "device": "cpu", "threads": 1}, SbertConfig(device="cpu", threads=1)),
    ],
)
def test_kind_chooses_the_config(written: dict[str, object], config: BaseModel) -> None:
    assert SIGNAL.validate_python(written) == config
    assert ANY_SIGNAL.validate_python(written) == config


def test_token_signals_are_signals_to_a_user_only() -> None:
    written = {"kind": "chow_quantile", "q": 0.2}
    assert ANY_SIGNAL.validate_python(written) == ChowConfig(kind="chow_quantile", q=0.2)
    with pytest.raises(ValidationError, match="does not match any of the expected tags"):
        SIGNAL.validate_python(written)


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"kind": "blue"},
        {"kind": "exact", "stemmer": True},
        {"kind": "bleu", "tokenize": "klingon"},
        {"kind": "bleu", "smoothing": "add-k", "smoothing_value": -1},
        {"kind": "rouge3"},
        {"kind": "sbert", "batch_size": 0},
        {"kind": "sbert", "dtype": "int8"},
    ],
)
def test_bad_options_are_refused(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ANY_SIGNAL.validate_python(written)


@pytest.mark.parametrize("config", [*DEFAULT_SIGNALS.values(), *TOKEN_SIGNALS.values()], ids=lambda c: c.kind)
def test_configs_are_immutable_and_every_option_is_described(config: BaseModel) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        config.kind = "other"  # type: ignore[attr-defined]
    for name, field in type(config).model_fields.items():
        assert name == "kind" or field.description


def test_sbert_without_its_folder() -> None:
    with pytest.raises(SignalError, match="sbert needs the local folder"):
        build_signal(DEFAULT_SIGNALS["sbert"])


def test_importing_and_configuring_loads_no_library() -> None:
    heavy = {"torch", "transformers", "sentence_transformers", "numpy", "sacrebleu", "nltk", "rouge_score", "rapidfuzz"}
    code = "import sys, serve_app.signals; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert heavy.isdisjoint(loaded)


OWN: dict[str, CompositeConfig] = {
    "both": MixConfig.model_validate({"kind": "mix", "parts": [{"signal": "rougeL"}, {"signal": "bleurt"}]}),
    "either": ByLengthConfig.model_validate(
        {"kind": "by_length", "cases": [{"signal": "exact", "max_characters": 9}, {"signal": "both"}]}
    ),
    "sure": BlendConfig(kind="blend", agreement="both", confidence="chow_avg"),
}
CATALOGUE = SignalCatalogue({**DEFAULT_SIGNALS, **TOKEN_SIGNALS, **OWN})


def test_every_signal_is_plain_token_level_or_a_composite() -> None:
    groups = [CATALOGUE.plain(), CATALOGUE.token_level(), CATALOGUE.composites()]
    assert groups == [DEFAULT_SIGNALS, TOKEN_SIGNALS, OWN]
    assert list(CATALOGUE.blends()) == ["sure"]


@pytest.mark.parametrize(
    ("need", "names"),
    [
        ("token_level", {"chow_sum", "chow_avg", "chow_quantile"}),
        ("needs_logprobs", {"chow_sum", "chow_avg", "chow_quantile", "sure"}),
        ("needs_weights", {"sbert", "sbert_mbert", "bleurt"}),
        ("encodes_texts", {"sbert", "sbert_mbert"}),
        ("isolated", {"bleurt"}),
    ],
)
def test_what_a_kind_needs_is_said_on_its_config(need: str, names: set[str]) -> None:
    assert {name for name, config in CATALOGUE.items() if getattr(config, need)} == names


def test_what_must_be_computed_for_a_signal() -> None:
    assert CATALOGUE.computed_for("rougeL") == ["rougeL"]
    assert CATALOGUE.computed_for("either") == ["exact", "rougeL", "bleurt"]
    assert CATALOGUE.computed_for("sure") == ["rougeL", "bleurt"]
    assert CATALOGUE.computed_for("chow_sum") == []


def test_what_is_computed_of_a_signal_for_some_texts() -> None:
    assert CATALOGUE.computed_of("either", ["short", "texts"]) == ["exact"]
    assert CATALOGUE.computed_of("either", ["short", "a longer text"]) == ["rougeL", "bleurt"]
    assert CATALOGUE.computed_of("sure", ["short"]) == ["rougeL", "bleurt"]
    assert CATALOGUE.computed_of("chow_sum", ["short"]) == []


def test_what_a_signal_is_made_of() -> None:
    assert CATALOGUE.uses("sure") == {"sure", "both", "rougeL", "bleurt", "chow_avg"}
    assert CATALOGUE.uses("chow_avg") == {"chow_avg"}


def test_the_token_level_part() -> None:
    assert CATALOGUE.confidence_of("sure") == TOKEN_SIGNALS["chow_avg"]
    assert CATALOGUE.confidence_of("chow_sum") == TOKEN_SIGNALS["chow_sum"]
    assert CATALOGUE.confidence_of("either") is None


def test_only_a_mix_must_not_name_a_mix() -> None:
    assert "both" not in CATALOGUE.allowed_components(OWN["both"])
    assert "both" in CATALOGUE.allowed_components(OWN["either"])
    assert "chow_sum" not in CATALOGUE.allowed_components(OWN["sure"])


RANGES = SignalCatalogue(
    {
        **DEFAULT_SIGNALS,
        **TOKEN_SIGNALS,
        "z": ChowConfig(kind="chow_avg", zscores={"a": ZScore(mean=-1, std=0.5), "b": ZScore(mean=-1, std=0.25)}),
        "mix": MixConfig(
            kind="mix", parts=[MixPart(signal="sbert", low=-3, weight=3), MixPart(signal="rouge1", high=2)]
        ),
        "unbounded": MixConfig(kind="mix", parts=[MixPart(signal="bleurt"), MixPart(signal="rouge1")]),
        "huge": MixConfig(kind="mix", parts=[MixPart(signal="exact", weight=1e308)] * 2),
        "strict": VetoConfig(kind="veto", signal="rouge1", floor=-0.5),
        "raised": VetoConfig(kind="veto", signal="sbert", floor=0.5),
        "odd": VetoConfig(kind="veto", signal="exact", floor=nan),
        "learned": VetoConfig(kind="veto", signal="bleurt"),
        "length": ByLengthConfig(
            kind="by_length", cases=[LengthCase(signal="exact", max_characters=9), LengthCase(signal="rouge1")]
        ),
        "both": BlendConfig(kind="blend", agreement="rouge1", confidence="z"),
    }
)


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("exact", Range(0, 1, "equality")),
        ("bleu", Range(0, 1)),
        ("rouge1", Range(0, 1)),
        ("rougeL", Range(0, 1)),
        ("chrf", Range(0, 1)),
        ("json", Range(0, 1)),
        ("sbert_mbert", Range(-1, 1, "angles")),
        ("bleurt", None),
        ("chow_sum", Range(-inf, 0)),
        ("z", Range(-inf, 4)),  # (0 - -1) / .25
        ("mix", Range(0.375, 0.875)),  # (3 x .5 + 0) / 4, (3 x 1 + .5) / 4
        ("unbounded", Range(0, 1)),
        ("huge", None),
        ("strict", Range(-0.5, 1)),
        ("raised", Range(-1, 1)),
        ("odd", None),
        ("learned", None),
        ("length", None),
        ("both", None),
    ],
)
def test_ranges(name: str, limits: Range | None) -> None:
    assert RANGES.range_of(name, ["a", "b", "c"]) == limits
