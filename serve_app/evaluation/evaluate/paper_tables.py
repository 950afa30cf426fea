"""The paper's tables of areas (tables 7 to 27): a row is an ensemble or a model, a column a signal."""

from collections.abc import Iterator, Sequence

from serve_app.evaluation.evaluate.results import Curves, RowResult
from serve_app.evaluation.evaluate.words import number
from serve_app.terminal.table import Table


def paper_tables(curves: Curves, target: str) -> Iterator[Table]:
    """Yield the paper's three tables of areas (tables 7 to 27).

    They are single models by token confidence, ensembles by token confidence, and ensembles by signals.
    """
    members, rows = curves.baselines.members, curves.rows
    columns = ("chow_sum", "chow_avg")
    for kind, title in (("chow_member", "token-level cascades"), ("chow_ensemble", "token-level ensemble cascades")):
        rows_of_kind = [row for row in rows if row.name.kind == kind]
        if not rows_of_kind:
            continue
        lines = []
        for models, agreement in dict.fromkeys((row.name.models, row.name.agreement) for row in rows_of_kind):
            group = [row for row in rows_of_kind if (row.name.models, row.name.agreement) == (models, agreement)]
            areas = [next(row.auc.estimate for row in group if row.name.signal == signal) for signal in columns]
            best = next(row for row in group if row.name.maximum)
            held_out_row = next(
                row for row in group if row.name.signal.startswith("chow_quantile") and not row.name.maximum
            )
            name = models[0] if kind == "chow_member" else f"{', '.join(models)} ({agreement})"
            random = [number(members[models[0]].random.estimate)] if kind == "chow_member" else []
            cells = [*areas, best.auc.estimate, held_out_row.auc.estimate]
            lines.append(
                (name, *random, *map(number, cells[:3]), _quantile(best), number(cells[3]), _quantile(held_out_row))
            )
        random_header = ("Random",) if kind == "chow_member" else ()
        header = (
            *("Model" if kind == "chow_member" else "Ensemble (s is)",),
            *random_header,
            "Chow-Sum",
            "Chow-Avg",
            "Best Chow-Quantile",
            "Best Quantile",
            "Chow-Quantile, chosen on held-out",
            "Quantile",
        )
        note = "Best Chow-Quantile is the paper's: the maximum over quantiles on these very examples, so it flatters."
        yield Table(f"AUC, {title}, deferring to {target}", header, tuple(lines), note=note)
    yield from _semantic(rows, target)


def _semantic(rows: Sequence[RowResult], target: str) -> Iterator[Table]:
    semantic = [row for row in rows if row.name.kind == "semantic"]
    if not semantic:
        return
    signals = list(dict.fromkeys(row.name.signal for row in semantic))
    lines, bold = [], set()
    for index, agreement in enumerate(("max", "mean")):
        areas = {row.name.signal: row.auc.estimate for row in semantic if row.name.agreement == agreement}
        best = max(areas, key=lambda signal: areas[signal])
        bold.add((index, signals.index(best) + 1))
        name = f"{', '.join(semantic[0].name.models)} ({agreement})"
        lines.append((name, *(number(areas[signal]) for signal in signals)))
    title = f"AUC, semantic cascades, deferring to {target}"
    yield Table(title, ("Ensemble (s is)", *signals), tuple(lines), frozenset(bold))


def _quantile(row: RowResult) -> str:
    return row.name.signal.partition("(")[2].rstrip(")")
