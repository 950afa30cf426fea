import subprocess
import sys

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from serve_app.errors import SignalError
from serve_app.signals import (
    DEFAULT_SIGNALS,
    TOKEN_SIGNALS,
    AnySignalConfig,
    BleuConfig,
    ChowConfig,
    RougeConfig,
    SbertConfig,
    SignalConfig,
    build_signal,
)

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
