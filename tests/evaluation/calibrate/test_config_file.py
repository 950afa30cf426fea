"""Files that can be deployed: what a calibration writes into a config, and which configs it refuses."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.config import RouterSettings
from serve_app.config.serve_file import load
from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.calibrate.command import CalibrationRun
from serve_app.evaluation.calibrate.config_file import check_writable
from serve_app.evaluation.calibrate.goal import Goal
from tests.evaluation.calibrate.calibrating import calibrate
from tests.evaluation.synthetic import answers, args, questions, serving_file, write_records


def test_the_file_can_be_deployed(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.yaml"
    result = calibrate(path, Goal(rates=(0.4,)), output=output)
    assert load(output).thresholds() == {"default": [result.calibrated.thresholds[0]]}
    [entry] = yaml.safe_load(output.read_text())["applications"][0]["deployments"]
    settings = RouterSettings.model_validate(entry["user_config"])
    assert settings.calibrations["default"].id == result.to_json()["id"]
    calibrated = settings.calibrations["default"]
    assert calibrated.report["on_test"] == result.calibrated.report.to_json()["on_test"]
    assert calibrated.agreements is not None
    assert calibrated.agreements.histogram() == result.calibrated.agreements
    assert "counts: [" in output.read_text()  # in one line


def test_it_goes_into_a_config_and_leaves_the_rest(path: Path, tmp_path: Path) -> None:
    values = args() | {"router": {"keepalive_s": 3}}
    values["cascades"]["other"] = {
        "tiers": [{"models": ["tiny"], "signal": "chow_avg", "threshold": 0}, {"models": ["large"]}]
    }
    config = serving_file(tmp_path / "config.yaml", values)
    before = yaml.safe_load(config.read_text())
    before["applications"][0]["deployments"] = [{"name": "Router", "user_config": {"thresholds": {"other": [-1.0]}}}]
    config.write_text(yaml.safe_dump(before))
    result = calibrate(path, Goal(rates=(0.4,)), config=config, output=tmp_path / "out.yaml")
    after = yaml.safe_load((tmp_path / "out.yaml").read_text())
    assert after["applications"][0]["args"] == before["applications"][0]["args"]
    [entry] = after["applications"][0]["deployments"]
    assert entry["user_config"]["thresholds"] == {"other": [-1.0], "default": [result.calibrated.thresholds[0]]}


def test_a_cascade_that_is_an_alias_of_the_calibrated_one_keeps_its_own_signal(path: Path, tmp_path: Path) -> None:
    config = serving_file(tmp_path / "config.yaml", args())
    values = yaml.safe_load(config.read_text())
    cascades = values["applications"][0]["args"]["cascades"]
    cascades["other"] = cascades["default"]
    config.write_text(yaml.safe_dump(values))
    assert "*id001" in config.read_text()
    calibrate(path, Goal(budget=0.9), tier_signals=("exact",), config=config, output=tmp_path / "out.yaml")
    after = load(tmp_path / "out.yaml").application.args.cascades
    assert [after[id_].tiers[0].signal for id_ in ("default", "other")] == ["exact", "rougeL"]


def test_a_config_with_another_cascade_is_refused(path: Path, tmp_path: Path) -> None:
    config = serving_file(tmp_path / "config.yaml", args(("tiny", "small")))
    with pytest.raises(ConfigError, match="'default' is not the one in the records"):
        calibrate(path, Goal(rates=(0.4,)), config=config, output=tmp_path / "out.yaml")


def test_a_config_with_another_model_of_that_name_is_refused(path: Path, tmp_path: Path) -> None:
    values = args()
    values["models"]["large"] = {"engine": "llama_cpp", "weights": "hf://me/other/model.gguf", "parameters": 3e9}
    config = serving_file(tmp_path / "config.yaml", values)
    with pytest.raises(ConfigError, match=r"models\.large\.weights is not that of the records"):
        calibrate(path, Goal(rates=(0.4,)), config=config, output=tmp_path / "out.yaml")
    assert not (tmp_path / "out.yaml").exists()


LLAMA = {"engine": "llama_cpp", "weights": "hf://me/it/model.gguf", "parameters": 5e8}
ZSCORES = {name: {"mean": -1.0, "std": 0.5} for name in ("small", "tiny")}
SIGNALS: dict[str, Any] = {
    "sure": {"kind": "chow_avg", "zscores": ZSCORES},
    "bert": {"kind": "sbert", "threads": 1},
    "mixed": {"kind": "mix", "parts": [{"signal": "rouge1"}, {"signal": "chrf"}]},
    "both": {"kind": "blend", "agreement": "mixed", "confidence": "sure"},
}


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Return a config with signals of its own, and records of it."""
    values = args() | {"signals": SIGNALS}
    values["models"]["small"] = LLAMA
    examples = questions(120)
    columns = answers(["small", "tiny", "large"], examples)
    return values, write_records(tmp_path_factory.mktemp("records") / "records.jsonl", values, examples, columns)


def into(
    signed: tuple[dict[str, Any], Path], output: Path, signal: str, change: dict[str, Any], *, fit: bool = False
) -> CalibrationRun:
    """Calibrate by `signal`, into the config of the records with other entries for models or signals."""
    values, path = signed
    served = values | {part: values[part] | entries for part, entries in change.items()}
    config = serving_file(output.with_name("config.yaml"), served)
    return calibrate(path, Goal(budget=0.9), tier_signals=(signal,), fit=fit, config=config, output=output)


@pytest.mark.parametrize(
    ("signal", "change", "message"),
    [
        ("rougeL", {"signals": {"rougeL": {"kind": "bleu"}}}, r"signals\.rougeL\.kind"),
        ("rougeL", {"signals": {"rougeL": {"kind": "rougeL", "stemmer": True}}}, r"signals\.rougeL\.stemmer"),
        ("mixed", {"signals": {"chrf": {"kind": "chrf", "word_order": 2}}}, r"signals\.chrf\.word_order"),
        ("both", {"signals": {"rouge1": {"kind": "rouge1", "stemmer": True}}}, r"signals\.rouge1\.stemmer"),
        ("both", {"signals": {"sure": {"kind": "chow_sum", "zscores": ZSCORES}}}, r"signals\.sure\.kind"),
        ("rougeL", {"models": {"small": LLAMA | {"stop": ["\n"]}}}, r"models\.small\.stop"),
        ("rougeL", {"models": {"small": LLAMA | {"chat_template": "{{ x }}"}}}, r"models\.small\.chat_template"),
        ("rougeL", {"models": {"large": {"engine": "replay", "default": "y"}}}, r"models\.large\.default"),
    ],
)
def test_a_config_where_a_name_means_something_else_is_refused(
    signed: tuple[dict[str, Any], Path], tmp_path: Path, signal: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"{message} is not that of the records"):
        into(signed, tmp_path / "out.yaml", signal, change)
    assert not (tmp_path / "out.yaml").exists()


@pytest.mark.parametrize(
    ("signal", "change"),
    [
        ("rougeL", {"signals": {"bleu": {"kind": "bleu", "lowercase": True}}}),  # judges nothing here
        ("rougeL", {"signals": {"bleurt": {"kind": "bleurt", "device": "cpu"}}}),
        ("sure", {"signals": {"sure": SIGNALS["sure"] | {"zscores": ZSCORES | {"large": ZSCORES["tiny"]}}}}),
        ("rougeL", {"models": {"small": LLAMA | {"slots": 8, "threads": 2, "input_usd": 1}}}),
    ],
)
def test_a_config_that_runs_it_otherwise_is_taken(
    signed: tuple[dict[str, Any], Path], tmp_path: Path, signal: str, change: dict[str, Any]
) -> None:
    assert into(signed, tmp_path / "out.yaml", signal, change).output is not None


def test_what_is_fitted_replaces_what_the_config_has(signed: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    signals = {"sure": {"kind": "chow_avg", "zscores": {name: {"mean": 0.0, "std": 1.0} for name in ZSCORES}}}
    assert into(signed, tmp_path / "out.yaml", "sure", {"signals": signals}, fit=True).output is not None
    signals = {"chrf": {"kind": "chrf", "word_order": 2}}
    with pytest.raises(ConfigError, match=r"signals\.chrf\.word_order is not that of the records"):
        into(signed, tmp_path / "out.yaml", "both", {"signals": signals}, fit=True)


def test_a_signal_that_another_cascade_uses_is_not_changed_under_it(path: Path, tmp_path: Path) -> None:
    def served(zscores: dict[str, Any]) -> Path:
        values = args(signal="chow_avg")
        values["signals"] = {"chow_avg": {"kind": "chow_avg", "zscores": zscores}}
        values["cascades"]["other"] = {
            "tiers": [
                {"models": list(zscores), "signal": "chow_avg", "threshold": 0},
                {"models": ["large"]},
            ]
        }
        values["models"]["odd"] = values["models"]["old"] = {"engine": "replay", "default": "x"}
        return serving_file(tmp_path / "config.yaml", values)

    def fitted_into(config: Path) -> CalibrationRun:
        return calibrate(
            path, Goal(rates=(0.4,)), fit=True, tier_signals=("chow_avg",), config=config, output=tmp_path / "out.yaml"
        )

    zscore = {"mean": -1.0, "std": 0.5}
    config = served({"odd": zscore, "old": zscore})
    with pytest.raises(ConfigError, match="no zscores for"):
        load(config)  # for the calibrated cascade there are none yet
    values = yaml.safe_load(config.read_text())
    values["applications"][0]["args"]["cascades"]["default"]["tiers"][0]["signal"] = "rougeL"
    config.write_text(yaml.safe_dump(values))
    fitted_into(config)
    fitted_zscores = load(tmp_path / "out.yaml").application.args.signals["chow_avg"].zscores  # type: ignore[union-attr]
    assert set(fitted_zscores) == {"small", "tiny", "odd", "old"}
    assert fitted_zscores["odd"].model_dump() == zscore

    config = served({"small": zscore, "tiny": zscore})
    before = (tmp_path / "out.yaml").read_bytes()
    with pytest.raises(ConfigError, match="the cascade 'other' uses the signal 'chow_avg', too"):
        fitted_into(config)
    assert (tmp_path / "out.yaml").read_bytes() == before


def test_what_cannot_be_written_is_named_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, path = tmp_path / "folder", tmp_path / "folder" / "a.yaml"
    folder.mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: path != folder)  # root may write anywhere
    with pytest.raises(DataError) as caught:
        check_writable(path)
    assert str(caught.value) == f"The config '{path}' cannot be written: '{folder}' is not writable."
    path.touch()
    check_writable(path)  # in place
    monkeypatch.setattr(os, "access", lambda file, _: file != path)
    with pytest.raises(DataError, match=r"'.*/folder/a\.yaml' is not writable\.$"):
        check_writable(path)
    check_writable(Path("/dev/stdout"))


def test_a_write_protected_file_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.touch(0o444)
    with pytest.raises(DataError, match=r"a\.yaml' cannot be written: it is write-protected\.$"):
        check_writable(path)
