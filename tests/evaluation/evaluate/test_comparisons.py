"""`--compare`: rows by their names in the table of areas, and a paired test."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import UsageError
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.evaluate.evaluate import Scored, evaluate, score
from serve_app.evaluation.evaluate.results import Curves
from serve_app.evaluation.evaluate.tables import tables
from serve_app.evaluation.evaluate.words import label, remarks
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import records, three_tier_records


def dataset(path: Path) -> Dataset:
    return load_dataset(Records.load(path), Options(signals=("exact",), resamples=199))


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> list[Scored]:
    return score(dataset(records(tmp_path_factory.mktemp("records") / "records.jsonl", 150)))


def curves(scored: list[Scored], *names: str) -> Curves:
    [cascade] = evaluate(scored[0].view.dataset, scored, names).groups[0].cascades
    assert cascade.curves is not None
    return cascade.curves


def test_rows_are_compared_by_their_areas(scored: list[Scored]) -> None:
    result = curves(scored, "exact (max)", "chow_sum of small", "random, small selected", "small alone (quality)")
    areas = {label(row.name): row.auc.estimate for row in result.rows}
    first, random, alone = result.comparisons
    assert (first.row, first.less) == ("exact (max)", "chow_sum of small")
    assert first.difference.estimate == pytest.approx(areas["exact (max)"] - areas["chow_sum of small"])
    assert random.difference.estimate == pytest.approx(
        areas["exact (max)"] - result.baselines.members["small"].random.estimate
    )
    # The cascade is better than its member without any doubt: in no resample it is not.
    assert alone.difference.low > 0
    assert (alone.p, alone.p_holm) == (2 / 200, pytest.approx(3 * 2 / 200))
    assert [comparison.p_holm >= comparison.p for comparison in result.comparisons] == [True] * 3


def test_what_is_equal_is_not_different(scored: list[Scored]) -> None:
    [comparison] = curves(
        scored, "exact (max)", "exact (mean)"
    ).comparisons  # two members: both agreements are the same
    assert (comparison.difference.estimate, comparison.p, comparison.p_holm) == (0, 1, 1)


def test_every_name_of_the_table_of_areas_can_be_compared(scored: list[Scored]) -> None:
    [group] = evaluate(scored[0].view.dataset, scored).groups
    [areas] = [table for table in tables(group, group.cascades[0]) if table.title.startswith("Areas")]
    names = [row[0] for row in areas.rows]
    assert len(set(names)) == len(names)
    assert len(curves(scored, *names).comparisons) == len(names) - 1


def test_comparisons_are_in_a_table_and_in_json(scored: list[Scored]) -> None:
    evaluation = evaluate(scored[0].view.dataset, scored, ("exact (max)", "chow_sum of small"))
    [group] = evaluation.groups
    [table] = [table for table in tables(group, group.cascades[0]) if table.title == "Comparisons"]
    assert table.rows[0][:2] == ("exact (max)", "chow_sum of small")
    [body] = evaluation.to_json()["groups"][0]["cascades"][0]["comparisons"]
    assert set(body) == {"row", "less", "difference", "p", "p_holm"}
    assert not any(table.title == "Comparisons" for table in tables(*plain(scored)))


def plain(scored: list[Scored]) -> Any:
    [group] = evaluate(scored[0].view.dataset, scored).groups
    return group, group.cascades[0]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("exact (max)", "chow_sun of small"), "no row is named 'chow_sun of small'. Did you mean 'chow_sum of small'"),
        (("exact (max)",), "name two different rows or more, each once"),
        (("exact (max)", "exact (max)"), "name two different rows or more, each once"),
    ],
)
def test_names_that_cannot_be_compared(scored: list[Scored], names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=f"--compare: {sentence}".replace("(", r"\(").replace(")", r"\)")):
        curves(scored, *names)


def test_more_than_two_tiers_have_no_rows(tmp_path: Path) -> None:
    loaded = dataset(three_tier_records(tmp_path / "r.jsonl", 40))
    with pytest.raises(UsageError, match="--compare: no cascade of two tiers was evaluated"):
        evaluate(loaded, compare=("a", "b"))


def test_groups_without_a_row_say_so(scored: list[Scored], tmp_path: Path) -> None:
    """Groups choose their own quantiles, so a row of one may be missing in another."""
    [full] = scored
    without = replace(full, rows=[row for row in full.rows if label(row.name()) != "chow_sum of small"])
    names = ("exact (max)", "chow_sum of small")
    cascades = evaluate(full.view.dataset, [full, without], names).groups[0].cascades
    compared = [cascade.curves.comparisons for cascade in cascades if cascade.curves]
    assert [len(comparisons) for comparisons in compared] == [1, 0]
    assert "Nothing is compared here: there is no row 'chow_sum of small'." in remarks(cascades[1])
    partial = replace(full, rows=[row for row in full.rows if label(row.name()) != "exact (max)"])
    with pytest.raises(UsageError, match="no cascade has all of these rows on one group: exact"):
        evaluate(full.view.dataset, [partial, without], names)
