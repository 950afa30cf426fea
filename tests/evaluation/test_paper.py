"""The paper's own numbers against each other and against our area."""

from decimal import Decimal

import numpy as np
import pytest

from serve_app.evaluation.statistics.baselines import random_deferral
from tests.evaluation.paper_tables import (
    BASELINES,
    ENSEMBLE_COLUMNS,
    ILLUSTRATIVE,
    SEMANTIC,
    SIGNALS,
    TARGETS,
    TOKEN_LEVEL,
    TOKEN_LEVEL_ENSEMBLES,
)

ROUNDED = Decimal(".00005")
SQUAD_EXAMPLES = 1500  # the paper does not say; its accuracies fit


def random_entries():
    for task, table in TOKEN_LEVEL.items():
        for model, row in table.items():
            baselines = BASELINES[model][task], BASELINES[(TARGETS[task],)][task]
            yield task, model[0], row["Random"], sum(baselines) / 2


def test_random_is_the_mean_of_the_two_baselines():
    off = [entry for entry in random_entries() if abs(entry[2] - entry[3]) > ROUNDED]
    assert len(list(random_entries())) == 52
    assert off == [("TriviaQA", "mT0 Large", Decimal(".3504"), Decimal(".35075"))]


def test_random_of_appendix_c():
    task = "WMT19 DE-FR"
    assert (BASELINES[("Qwen2.5-1.5B",)][task] + BASELINES[("Qwen2.5-7B",)][task]) / 2 == Decimal(".6130")


def test_table_1_holds_the_best_of_its_rows():
    for task, semantic, token_level, best_semantic, best_token_level in ILLUSTRATIVE:
        (row,) = (row for models, row in SEMANTIC[task].items() if set(models) == set(semantic))
        assert max(row[signal] for signal in SIGNALS) == best_semantic
        columns = ("Chow-Sum", "Chow-Avg", "Best Chow-Quantile")
        assert max(TOKEN_LEVEL[task][(token_level,)][column] for column in columns) == best_token_level


def test_a_replaced_member_of_section_4_3():
    table = SEMANTIC["WMT19 DE-FR"]
    assert table[("Gemma3-1B", "Qwen2.5-1.5B", "mT0 Large")]["BLEURT"] == Decimal(".6548")
    assert table[("Gemma3-1B", "Qwen2.5-1.5B", "FLAN-T5 Large")]["BLEURT"] == Decimal(".6554")


def test_the_tables_are_whole():
    assert [len(TOKEN_LEVEL[task]) for task in TARGETS] == [8, 8, 8, 7, 6, 8, 7]
    assert [len(TOKEN_LEVEL_ENSEMBLES[task]) for task in TARGETS] == [5, 5, 5, 4, 3, 3, 5]
    assert [len(SEMANTIC[task]) for task in TARGETS] == [6, 6, 6, 3, 3, 4, 5]
    for tables, columns in ((SEMANTIC, SIGNALS), (TOKEN_LEVEL_ENSEMBLES, ENSEMBLE_COLUMNS[:3])):
        assert all(0 < row[column] < 1 for table in tables.values() for row in table.values() for column in columns)
    assert all(set(models) <= {model for (model,) in BASELINES} for table in SEMANTIC.values() for models in table)


def outcomes(accuracy: Decimal) -> np.ndarray:
    """Return 0 or 1 for each example, the right ones first: an order that a constant signal must not see."""
    right = int((accuracy * SQUAD_EXAMPLES).to_integral_value())
    assert round(Decimal(right) / SQUAD_EXAMPLES, 4) == accuracy
    return np.arange(SQUAD_EXAMPLES) < right


@pytest.mark.parametrize("model", [model for (model,) in TOKEN_LEVEL["SQuAD1.1"]])
def test_our_area_gives_the_random_column(model):
    published = TOKEN_LEVEL["SQuAD1.1"][(model,)]["Random"]
    small, target = outcomes(BASELINES[(model,)]["SQuAD1.1"]), outcomes(BASELINES[("Qwen2.5-7B",)]["SQuAD1.1"])
    swept = random_deferral(small, target)
    assert swept.area == pytest.approx(float(published), abs=0.00005 + 1e-9)
    assert abs(area_that_ignores_ties(np.zeros(SQUAD_EXAMPLES), small, target) - float(published)) > 0.0001


def area_that_ignores_ties(scores: np.ndarray, selected: np.ndarray, target: np.ndarray) -> float:
    """Compute the area as it is often written: defer one by one, with equal scores in the order of the sort."""
    index = np.argsort(scores, kind="stable")
    deferred = np.concatenate([[0], np.cumsum((target.astype(int) - selected)[index])])
    return float(np.trapezoid((selected.sum() + deferred) / len(scores), np.linspace(0, 1, len(scores) + 1)))
