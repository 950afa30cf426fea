"""The studies of docs/recorded: their configs are valid, and their page has a place for them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from serve_app.config import AppConfig
from serve_app.evaluation.analysis.dataset import hashed_share
from serve_app.evaluation.analysis.other_config import with_config
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.search import Spec
from tests.evaluation.choose.test_ladders import COUNT, SIZES, column, config, kind
from tests.evaluation.importing.sources import OUTPUTS
from tests.evaluation.synthetic import questions, write_records

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


def ladders(path: Path, knowing: str = "t") -> Any:
    """Compare on answers of which a and b agree on six of ten, c and a on eight, and `knowing` know the others."""
    examples = questions(COUNT)
    right = [example.references[0] for example in examples]
    columns = {model: column(model, range(COUNT), right) for model in SIZES}
    if knowing != "t":
        columns[knowing] = columns["t"]
    [comparison] = LADDERS.comparisons(Records.load(write_records(path / "r.jsonl", config(), examples, columns)), 4)
    return comparison


def test_ladders_and_two_tiers_are_chosen_on_one_half_and_reported_on_the_other(tmp_path: Path) -> None:
    comparison = ladders(tmp_path)
    assert (comparison.target, comparison.unit, len(comparison.splits)) == ("t", "flops", 4)
    for seed, split in enumerate(comparison.splits):
        kinds = [kind(k) for k in range(COUNT) if hashed_share(f"Synthetic-{k}", seed) >= 0.5]
        easy, hard = (kinds.count(name) / len(kinds) for name in ("easy", "hard"))
        assert (split.examples, split.target_quality) == (len(kinds), 1)
        # Of two tiers a and c defer the fewest; a ladder asks b, which is cheaper, and c only where a and b differ.
        assert [tier.members for tier in split.two_tiers.tiers] == [("a", "c")]
        assert [tier.members for tier in split.ladder.tiers] == [("b", "a"), ("b", "a", "c")]
        assert split.two_tiers.cost == pytest.approx((1 + 4 + 20 * hard) / 20)
        assert split.ladder.cost == pytest.approx((1 + 2 + 4 * (1 - easy) + 20 * hard) / 20)
        assert split.two_tiers.quality == split.ladder.quality == 1
        assert split.is_cheaper
        assert split.is_within(split.ladder)


def test_two_tiers_are_compared_even_if_a_model_alone_is_better_and_cheaper(tmp_path: Path) -> None:
    """The member c knows as much as the target, for a fifth of its cost."""
    for split in ladders(tmp_path, knowing="c").splits:
        assert [tier.members for tier in split.two_tiers.tiers] == [("a", "c")]
        assert split.two_tiers.cost > 0.2
        assert split.two_tiers.quality == 1


def test_a_row_of_ladders_has_means_and_ranges_over_the_splits() -> None:
    two, three = Spec(("a", "b"), "exact"), Spec(("a", "b", "c"), "exact")
    flat, exact = LADDERS.Chosen((three,), 0.4, 0.9), LADDERS.Chosen((two, three), 0.35, 0.9)
    rouge = tuple(Spec(spec.members, "rouge1") for spec in (two, three))
    worse = LADDERS.Chosen(rouge, 0.38, 0.85)
    dearer = LADDERS.Chosen((Spec(("a", "c"), "exact"), three), 0.5, 0.91)
    splits = tuple(LADDERS.Split(100, 0.9, flat, ladder) for ladder in (exact, exact, worse, dearer))
    *_, row = LADDERS.table([LADDERS.Comparison("t", "usd", splits)])
    cells = ("t ($)", ".900", "40.0%", ".900", "100%", "39.5%", ".890", "75%", "75%")
    differences = ("-.005 (-.050 to +.100)", "-.010 (-.050 to +.010)")
    assert row == f"| {' | '.join((*cells, *differences))} | a + b → a + b + c: 75% |"


@pytest.mark.slow
def test_the_page_has_the_ladders_of_gsm8k(tmp_path: Path) -> None:
    if not OUTPUTS.exists():
        pytest.skip("../shared/outputs is not there")
    study = STUDIES["gsm8k"]
    importing, _ = RESULTS.commands(study, OUTPUTS, tmp_path)
    (tmp_path / "gsm8k.yaml").write_text(yaml.safe_dump(study.config(MODELS)))
    RESULTS.cascade(*importing)
    (tmp_path / "ladders.yaml").write_text(yaml.safe_dump(study.ladders_config(MODELS)))
    records = with_config(Records.load(tmp_path / "gsm8k.jsonl"), tmp_path / "ladders.yaml")
    *_, line = LADDERS.table([next(LADDERS.comparisons(records))])
    assert line in RESULTS.PAGE.read_text(encoding="utf-8")


def test_an_interval_is_written_as_the_page_has_it() -> None:
    assert RESULTS.signed([0.0414, -0.0027, 0.0551]) == "+.041 [-.003, +.055]"
    assert RESULTS.signed([-0.0004, -0.0, 0.0]) == "+.000 [+.000, +.000]"
    assert (RESULTS.number(0.9546), RESULTS.number(1.0), RESULTS.number(None)) == (".955", "1.000", "-")


def test_folders_of_outputs_are_named_if_they_are_missing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="name the folder with --outputs"):
        RESULTS.commands(STUDIES["gsm8k"], tmp_path, tmp_path)
