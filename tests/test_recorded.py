"""The studies of docs/recorded: their configs are valid, and their page has a place for them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from serve_app.config import AppConfig
from tests.evaluation.importing.sources import OUTPUTS

FOLDER = Path(__file__).parents[1] / "docs" / "recorded"
MODELS = yaml.safe_load((FOLDER / "models.yaml").read_text(encoding="utf-8"))


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recorded_results", FOLDER / "results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(FOLDER))  # as if it was run: it imports its neighbour
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


RESULTS = script()
LADDERS = sys.modules["ladders"]
STUDIES = {study.id: study for study in RESULTS.studies()}


@pytest.mark.parametrize("id_", [id_ for id_, study in STUDIES.items() if study.cascades])
def test_a_studys_config_is_valid(id_: str) -> None:
    study = STUDIES[id_]
    config = AppConfig.model_validate(study.config(MODELS)["applications"][0]["args"])
    cascades = [RESULTS.parsed(text) for text in study.cascades]
    assert {model for members, target in cascades for model in (*members, target)} <= MODELS.keys()
    assert len(config.cascades) == len(study.cascades) * (1 if study.compare is None else 2)


def test_the_page_has_a_section_of_every_study() -> None:
    page = RESULTS.PAGE.read_text(encoding="utf-8")
    recorded = page.split(RESULTS.BEGIN)[1].split(RESULTS.END)[0]
    assert [line.removeprefix("### ") for line in recorded.splitlines() if line.startswith("### ")] == [
        study.title for study in STUDIES.values()
    ]


@pytest.mark.parametrize("id_", [id_ for id_, study in STUDIES.items() if study.ladders])
def test_a_study_of_ladders_has_a_valid_config_and_a_table(id_: str) -> None:
    study = STUDIES[id_]
    config = AppConfig.model_validate(study.ladders_config(MODELS)["applications"][0]["args"])
    assert [cascade.tiers[-1].models for cascade in config.cascades.values()] == [
        [target] for target in study.ladders["targets"]
    ]
    sizes = [float(MODELS[name]["parameters"]) for name in study.ladders["members"]]
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) < 10e9
    page = RESULTS.PAGE.read_text(encoding="utf-8").split(f"### {study.title}\n")[1].split("\n### ")[0]
    assert f"Ladders of {len(sizes)} members up to 10B" in page


@pytest.mark.slow
def test_a_ladder_on_gsm8k_costs_less_at_the_same_quality(tmp_path: Path) -> None:
    """The first row of the page's table: decided alike on all 325 examples of the other half, for 16% less."""
    if not OUTPUTS.exists():
        pytest.skip("../shared/outputs is not there")
    study = STUDIES["gsm8k"]
    importing, _ = RESULTS.commands(study, OUTPUTS, tmp_path)
    (tmp_path / "gsm8k.yaml").write_text(yaml.safe_dump(study.config(MODELS)))
    RESULTS.cascade(*importing)
    (tmp_path / "ladders.yaml").write_text(yaml.safe_dump(study.ladders_config(MODELS)))
    row = next(LADDERS.comparisons(tmp_path / "gsm8k.jsonl", tmp_path / "ladders.yaml"))
    assert (row.target, row.unit, row.examples) == ("Meta-Llama-3.1-405B-Instruct-sambanova", "flops", 325)
    three = ("gemma-2-9b-it", "Meta-Llama-3.1-8B-Instruct", "Phi-3.5-mini-instruct")
    assert [(tier.members, tier.signal) for tier in row.two_tiers.tiers] == [(three, "exact")]
    assert [(tier.members, tier.signal) for tier in row.ladder.tiers] == [
        (("gemma-2-9b-it", "Phi-3.5-mini-instruct"), "exact"),
        (three, "exact"),
    ]
    assert (row.two_tiers.cost, row.ladder.cost) == (pytest.approx(0.1106, abs=5e-5), pytest.approx(0.0934, abs=5e-5))
    assert row.two_tiers.quality == row.ladder.quality == pytest.approx(295 / 325)
    cost = (row.cost.estimate, row.cost.low, row.cost.high)
    assert cost == pytest.approx((-0.01716, -0.01935, -0.01549), abs=1e-5)
    assert (row.quality.estimate, row.quality.low, row.quality.high) == (0, 0, 0)
    *_, line = LADDERS.table([row])
    assert line in RESULTS.PAGE.read_text(encoding="utf-8")


def test_an_interval_is_written_as_the_page_has_it() -> None:
    assert RESULTS.signed([0.0414, -0.0027, 0.0551]) == "+.041 [-.003, +.055]"
    assert (RESULTS.number(0.9546), RESULTS.number(1.0), RESULTS.number(None)) == (".955", "1.000", "-")


def test_folders_of_outputs_are_named_if_they_are_missing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="name the folder with --outputs"):
        RESULTS.commands(STUDIES["gsm8k"], tmp_path, tmp_path)
