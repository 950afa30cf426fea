"""The studies of docs/recorded: their configs are valid, and their page has a place for them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from serve_app.config import AppConfig

FOLDER = Path(__file__).parents[1] / "docs" / "recorded"
MODELS = yaml.safe_load((FOLDER / "models.yaml").read_text(encoding="utf-8"))


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recorded_results", FOLDER / "results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RESULTS = script()
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


def test_an_interval_is_written_as_the_page_has_it() -> None:
    assert RESULTS.signed([0.0414, -0.0027, 0.0551]) == "+.041 [-.003, +.055]"
    assert (RESULTS.number(0.9546), RESULTS.number(1.0), RESULTS.number(None)) == (".955", "1.000", "-")


def test_folders_of_outputs_are_named_if_they_are_missing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="name the folder with --outputs"):
        RESULTS.commands(STUDIES["gsm8k"], tmp_path, tmp_path)
