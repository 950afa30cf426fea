"""The file of past requests: it holds no text, and is refused by a config that it was not fitted to."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.config import AppConfig
from serve_app.errors import ConfigError
from serve_app.skipping.fitted import PROBE, Fitted
from serve_app.skipping.identity import identity
from tests.skipping.past import EASY, HARD, SKIP, config, fitted, vector, written


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    of = config(tmp_path / "skip.npz")
    past = fitted(of, [EASY, HARD], [0.7, np.nan])
    past.write(tmp_path / "skip.npz")
    again = Fitted.read(tmp_path / "skip.npz")
    assert again.identity == past.identity
    assert again.embeddings.dtype == np.float16
    np.testing.assert_array_equal(again.embeddings, past.embeddings)
    np.testing.assert_array_equal(again.scores, past.scores)
    np.testing.assert_array_equal(again.probe, vector(PROBE))


def test_the_file_holds_no_text_of_a_prompt(tmp_path: Path) -> None:
    written(tmp_path / "skip.npz")
    with np.load(tmp_path / "skip.npz") as arrays:
        assert sorted(arrays) == ["embeddings", "facts", "probe", "scores"]
        assert EASY not in str(arrays["facts"])


def changed_config(path: Any, **changes: Any) -> AppConfig:
    values = config(path).model_dump(mode="json", exclude_unset=True)
    cascade = values["cascades"]["default"]
    cascade["tiers"][0] |= changes.pop("tier", {})
    values["signals"] = changes.pop("signals", {})
    for name, options in changes.pop("models", {}).items():
        values["models"][name] |= options
    cascade["skip"] |= changes
    return AppConfig.model_validate(values)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"tier": {"signal": "rougeL"}}, "tiers[0].signal was 'exact' and is 'rougeL'"),
        ({"tier": {"models": ["b", "a"]}}, "tiers[0].models[0] was 'a' and is 'b'"),
        ({"tier": {"select": "a"}}, "tiers[0].select was None and is 'a'"),
        ({"signals": {"exact": {"kind": "chrf"}}}, "signals.exact.kind was 'exact' and is 'chrf'"),
        ({"signals": {"exact": {"kind": "chrf", "word_order": 2}}}, "signals.exact.kind was 'exact' and is 'chrf'"),
        ({"models": {"b": {"default": "y"}}}, "models.b.default was 'x' and is 'y'"),
        ({"encoder": "sbert_mbert"}, "encoder.weights was None and is 'hf://google-bert/bert-base-multilingual-cased'"),
    ],
)
def test_a_file_of_another_cascade_is_refused(tmp_path: Path, changes: dict[str, Any], difference: str) -> None:
    written(tmp_path / "skip.npz")
    with pytest.raises(ConfigError) as caught:
        Fitted.load(changed_config(tmp_path / "skip.npz", **changes), "default")
    message = str(caught.value)
    assert message.startswith("cascades.default.skip.fitted: ")
    assert difference in message
    assert "cascade fit-skip RECORDS --config CONFIG --cascade default" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"tier": {"threshold": 0.9}},
        {"tier": {"timeout_s": 1.0, "early": "off"}},
        {"k": 7, "timeout_s": 9.0},
        {"models": {"a": {"parameters": 9.0, "deployment": {"num_replicas": 2}}, "t": {"default": "y"}}},
    ],
)
def test_what_changes_no_agreement_may_change(tmp_path: Path, changes: dict[str, Any]) -> None:
    written(tmp_path / "skip.npz")
    assert len(Fitted.load(changed_config(tmp_path / "skip.npz", **changes), "default")) == 10


def test_an_adapter_is_identified_with_its_base_and_a_sample_by_its_model(tmp_path: Path) -> None:
    values = config(tmp_path / "x").model_dump(mode="json", exclude_unset=True)
    values["models"] = {
        "base": {"engine": "vllm", "weights": "hf://org/base"},
        "tuned": {"engine": "vllm_lora", "base": "base", "weights": "hf://org/adapter"},
        "b": {"engine": "replay", "default": "x"},
        "t": {"engine": "replay", "default": "x"},
    }
    values["cascades"]["default"]["tiers"][0]["models"] = ["tuned", {"model": "b", "samples": 2, "temperature": 0.7}]
    models = identity(AppConfig.model_validate(values), "default")["models"]
    assert {name: model["engine"] for name, model in models.items()} == {
        "b": "replay",
        "base": "vllm",
        "tuned": "vllm_lora",
    }
    assert (models["base"]["weights"], models["tuned"]["weights"]) == ("hf://org/base", "hf://org/adapter")


@pytest.mark.parametrize(
    "arrays",
    [
        {"embeddings": np.zeros(2, np.float16)},
        {"scores": np.zeros(2)},
        {"facts": np.array('{"format": 2, "identity": {}}')},
        {"facts": np.array('{"format": 2, "identity": 7}')},
        {"facts": np.array("[]")},
    ],
    ids=str,
)
def test_a_file_of_other_arrays_is_refused(tmp_path: Path, arrays: dict[str, Any]) -> None:
    path = tmp_path / "skip.npz"
    written(path)
    with np.load(path) as file:
        before = dict(file)
    np.savez(path, **before | arrays)
    with pytest.raises(ConfigError, match=r"skip\.npz is not a file of cascade fit-skip\.$"):
        Fitted.read(path)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "skip.npz"
    written(path)
    with np.load(path) as file:
        before = dict(file)
    np.savez(path, **before | {"facts": np.array('{"format": 1, "identity": {}}')})
    with pytest.raises(ConfigError, match=r"skip\.npz has format 1, and this version reads 2\.$"):
        Fitted.read(path)


def test_a_file_with_broken_compression_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "skip.npz"
    written(path)
    data = bytearray(path.read_bytes())
    name, extra = struct.unpack("<HH", data[26:30])  # of a zip file's first header, of 30 bytes
    data[30 + name + extra] = 0xFF  # no type of a deflated block
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"skip\.npz is not a file of cascade fit-skip\.$"):
        Fitted.read(path)


def test_a_file_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    path = tmp_path / "skip.npz"
    with pytest.raises(ConfigError, match=r"cannot be read: No such file or directory\. cascade fit-skip writes it"):
        Fitted.read(path)
    path.write_text("not a zip")
    with pytest.raises(ConfigError, match=r"skip\.npz is not a file of cascade fit-skip\.$"):
        Fitted.read(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(ConfigError, match=r"is not a file of cascade fit-skip"):
        Fitted.read(path)
    of = config(path)
    past = fitted(of, [EASY, HARD], [0.7, 0.2])
    Fitted(past.identity, past.embeddings, past.scores[:1], past.probe).write(path)
    with pytest.raises(ConfigError, match=r"is damaged"):
        Fitted.read(path)
    past.write(path)
    with pytest.raises(ConfigError, match=r"has 2 past requests, fewer than k \(5\)\.$"):
        Fitted.load(of, "default")
    with pytest.raises(ConfigError, match=r"cannot be written: No such file"):
        past.write(tmp_path / "no" / "skip.npz")
    assert SKIP["k"] == 5


def test_another_encoder_is_told_by_its_vector(tmp_path: Path) -> None:
    past = fitted(config(tmp_path / "x"), [EASY], [0.7])
    assert past.is_of(vector(PROBE))
    assert not past.is_of(vector(EASY))
    assert not past.is_of(np.ones(5, dtype=np.float32))
