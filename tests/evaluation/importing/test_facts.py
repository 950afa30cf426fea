from pathlib import Path

import pytest

from serve_app.config.models import ModelFacts
from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.importing.facts import configured, read_facts, replayed
from tests.evaluation.collecting import write_config

FACTS = {
    "large": ModelFacts(parameters=4e11),
    "small": ModelFacts(parameters=8e9),
    "sparse": ModelFacts(parameters=1e12, active_parameters=3e9),
    "api": ModelFacts(input_usd=2.5, output_usd=10),
    "cheap": ModelFacts(input_usd=0.1, output_usd=0.4),
}


def test_members_come_by_size_before_the_largest_and_those_behind_a_price_by_that() -> None:
    tiers = replayed(["large", "api", "small", "cheap", "sparse"], FACTS, None).config.cascades["default"].tiers
    assert [tier.models for tier in tiers] == [["sparse", "small", "large", "cheap"], ["api"]]


def test_a_named_target_comes_last() -> None:
    setup = replayed(["large", "api", "small"], FACTS, "large")
    assert [tier.models for tier in setup.config.cascades["default"].tiers] == [["small", "api"], ["large"]]
    assert setup.written["models"] == {
        "small": {"engine": "replay", "parameters": 8e9},
        "api": {"engine": "replay", "input_usd": 2.5, "output_usd": 10.0},
        "large": {"engine": "replay", "parameters": 4e11},
    }
    assert setup.config.models["small"].cost().parameters == 8e9


def test_without_sizes_the_last_of_the_files_is_the_target() -> None:
    tiers = replayed(["b", "a", "c"], {}, None).config.cascades["default"].tiers
    assert [tier.models for tier in tiers] == [["b", "a"], ["c"]]


def test_one_model_is_a_cascade_of_one_tier() -> None:
    assert [tier.models for tier in replayed(["a"], {}, None).config.cascades["default"].tiers] == [["a"]]


def test_a_target_that_was_not_imported_is_refused() -> None:
    with pytest.raises(DataError, match=r"--target: no answers of 'larg' were imported\. Did you mean 'large'\?"):
        replayed(["large", "small"], FACTS, "larg")


def test_the_fields_of_a_file_of_models_are_those_of_a_config(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("a: {parameters: 8.0e9, output_usd: 0.5}\nb: {}\n")
    assert read_facts(path) == {"a": ModelFacts(parameters=8e9, output_usd=0.5), "b": ModelFacts()}
    path.write_text("a: {params: 8}\n")
    with pytest.raises(ConfigError, match=r"models\.yaml: a\.params: unknown key\. Did you mean 'parameters'\?"):
        read_facts(path)


def test_a_serving_config_has_all_imported_models(tmp_path: Path) -> None:
    path = write_config(tmp_path / "c.yaml")
    assert list(configured(path, ["t", "a"]).config.models) == ["a", "b", "t"]
    with pytest.raises(DataError, match=r"c\.yaml has no model 'z'\. Available: a, b, t\."):
        configured(path, ["z"])
