"""`cascade evaluate --compare`: one row less another, with a paired test."""

from collections.abc import Sequence

from serve_app.errors import UsageError, choices
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.evaluate.results import Comparison
from serve_app.evaluation.evaluate.row import Row, StatisticKey
from serve_app.evaluation.evaluate.words import ORACLE, label, model_alone, oracle_of, random_of
from serve_app.evaluation.statistics.bootstrap import Resampled
from serve_app.evaluation.statistics.compare import holm, paired_p_value


def comparisons(
    names: Sequence[str], keys: dict[str, StatisticKey], resampled: Resampled[StatisticKey]
) -> tuple[Comparison, ...]:
    """Compare the first of the named rows with each of the others."""
    pairs = [(names[0], name) for name in names[1:]]
    p_values = [paired_p_value(resampled, keys[row], keys[less]) for row, less in pairs]
    return tuple(
        Comparison(row, less, resampled.difference(keys[row], keys[less]), p, adjusted)
        for (row, less), p, adjusted in zip(pairs, p_values, holm(p_values), strict=True)
    )


def keys_by_name(view: CascadeView, rows: Sequence[Row]) -> dict[str, StatisticKey]:
    """Return what is bootstrapped of each row of the table of areas, by the row's name."""
    members = view.tiers[0].models
    keys: dict[str, StatisticKey] = {ORACLE: ("oracle", None)}
    keys |= {model_alone(model): ("quality", model) for model in (*members, view.target)}
    keys |= {oracle_of(model): ("oracle", model) for model in members}
    keys |= {random_of(model): ("random", model) for model in members}
    return keys | {label(row.name()): ("area", k) for k, row in enumerate(rows)}


def check_names(names: Sequence[str], keys: Sequence[dict[str, StatisticKey]]) -> None:
    """Raise DataError if the names to compare are not those of different rows of some cascade.

    `keys`: by name, for each cascade and group. They may differ in the quantile that was chosen.
    """
    if len(set(names)) < len(names) or len(names) == 1:
        raise UsageError(
            "--compare: name two different rows or more, each once; the first is compared with the others."
        )
    if not keys:
        raise UsageError("--compare: no cascade of two tiers was evaluated, so there is no row to compare.")
    available = list(dict.fromkeys(name for by_name in keys for name in by_name))
    if unknown := next((name for name in names if name not in available), None):
        raise UsageError(f"--compare: no row is named {unknown!r}. {choices(unknown, available)}")
    if not any(set(names) <= by_name.keys() for by_name in keys):
        raise UsageError(f"--compare: no cascade has all of these rows on one group: {'; '.join(names)}.")
