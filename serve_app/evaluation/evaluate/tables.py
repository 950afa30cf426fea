"""The results of an evaluation as tables: laid out once, for people at a terminal, for Markdown, HTML and CSV.

As in the paper a row is an ensemble or a model and a column a signal, with the area under the deferral curve (tables 7
to 27); what the paper does not have follows: intervals, gains, budgets and costs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isinf, isnan
from typing import TYPE_CHECKING

from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.dataset import Source
from serve_app.evaluation.evaluate.results import (
    Budgets,
    CascadeResult,
    Curves,
    Evaluation,
    GroupResult,
    ParetoFront,
    RowName,
    RowResult,
)
from serve_app.evaluation.statistics.bootstrap import Interval

if TYPE_CHECKING:
    from rich.console import Console

UNIT_NAMES: Mapping[Unit, str] = {
    "flops": "FLOPs",
    "usd": "US dollars",
    "device_s": "device-seconds",
    "latency_s": "latency",
}

SHARES = (0.1, 0.2, 0.4, 0.6)
"""Of the target's cost: what they buy is in the table of budgets."""
UNUSUAL = (("semantic", "mean"), ("chow_ensemble", "max"))
"""Kinds of rows under the policy that is not the paper's own: only their areas are in tables."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are ready to be printed. `bold` are places of (row, column): the best of its kind."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    note: str = ""


def tables(group: GroupResult, cascade: CascadeResult, *, every_unit: bool = True) -> Iterator[Table]:
    """Yield every table of one cascade on one group of examples; budgets in every unit, or only in the first."""
    yield _models(group, cascade)
    if isinstance(cascade.detail, ParetoFront):
        yield _front(cascade.detail)
        return
    yield from _paper(cascade.detail, cascade.target)
    yield _areas(cascade.detail, cascade.target)
    yield _budgets(cascade.detail, every_unit)


def _models(group: GroupResult, cascade: CascadeResult) -> Table:
    """Return the paper's Table 6, with costs."""
    metrics = group.metrics
    rows = [
        (
            model + (" (target)" if model == cascade.target else ""),
            *(_number(facts.quality[metric]) for metric in metrics),
            *(_cost(facts.cost[unit]) for unit in UNIT_NAMES),
            str(facts.failed),
        )
        for model, facts in cascade.models.items()
    ]
    return Table("Models alone", ("model", *metrics, *UNIT_NAMES.values(), "failed"), tuple(rows))


def _paper(curves: Curves, target: str) -> Iterator[Table]:
    """Yield the paper's three tables of areas (tables 7 to 27).

    They are single models by token confidence, ensembles by token confidence, and ensembles by signals.
    """
    members, rows = curves.baselines.members, curves.rows
    columns = ("chow_sum", "chow_avg")
    for kind, title in (("chow_member", "token-level cascades"), ("chow_ensemble", "token-level ensemble cascades")):
        alike = [row for row in rows if row.name.kind == kind]
        if not alike:
            continue
        lines = []
        for models, agreement in dict.fromkeys((row.name.models, row.name.agreement) for row in alike):
            own = [row for row in alike if (row.name.models, row.name.agreement) == (models, agreement)]
            areas = [next(row.auc.estimate for row in own if row.name.signal == signal) for signal in columns]
            best = next(row for row in own if row.name.maximum)
            held = next(row for row in own if row.name.signal.startswith("chow_quantile") and not row.name.maximum)
            name = models[0] if kind == "chow_member" else f"{', '.join(models)} ({agreement})"
            random = [_number(members[models[0]].random.estimate)] if kind == "chow_member" else []
            cells = [*areas, best.auc.estimate, held.auc.estimate]
            lines.append((name, *random, *map(_number, cells[:3]), _quantile(best), _number(cells[3]), _quantile(held)))
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
        own = {row.name.signal: row.auc.estimate for row in semantic if row.name.agreement == agreement}
        best = max(own, key=lambda signal: own[signal])
        bold.add((index, signals.index(best) + 1))
        name = f"{', '.join(semantic[0].name.models)} ({agreement})"
        lines.append((name, *(_number(own[signal]) for signal in signals)))
    title = f"AUC, semantic cascades, deferring to {target}"
    yield Table(title, ("Ensemble (s is)", *signals), tuple(lines), frozenset(bold))


def _areas(curves: Curves, target: str) -> Table:
    """Return every row with its intervals, best first, between the baselines."""
    base = curves.baselines
    lines = [("oracle", "the best member answer", _interval(base.oracle), "", "", "", "")]
    lines.append((f"always {target} (quality)", target, _interval(base.target), "", "", "", ""))
    lines += [
        (f"oracle of {model} alone", model, _interval(facts.oracle), "", "", "", "")
        for model, facts in base.members.items()
    ]
    for row in sorted(curves.rows, key=lambda row: -row.auc.estimate):
        lines.append(
            (
                label(row.name),
                _kept(row),
                _interval(row.auc),
                _signed(row.over_random),
                _signed(row.by_selection),
                _signed(row.over_best_chow) if row.over_best_chow else "",
                _number(row.partial_oracle.estimate) if row.partial_oracle else "",
            )
        )
    lines += [("random", model, _interval(facts.random), "", "", "", "") for model, facts in base.members.items()]
    lines += [
        (f"never {target} (quality)", model, _interval(facts.quality), "", "", "", "")
        for model, facts in base.members.items()
    ]
    best = curves.best_chow
    note = "over random: the same answers kept, deferred at random, so what deferral gains. by selection: what keeping "
    note += "the selected answer gains over the best member's. "
    if best:
        note += f"best Chow, chosen on held-out examples: {label(best)}. "
    note += "Intervals: 95%, paired bootstrap."
    header = ("scored by", "kept", "AUC", "over random", "by selection", "over best Chow", "partial oracle")
    return Table("Areas under the deferral curve", header, tuple(lines), note=note)


def _budgets(curves: Curves, every_unit: bool) -> Table:
    """Return quality at fixed shares of the target's cost, and the cheapest point within the margin."""
    units = list(dict.fromkeys(unit for row in curves.rows for unit in row.at))
    lines = [
        (label(row.name), UNIT_NAMES[unit], *_bought(row.at[unit]), *_cheap(row, unit))
        for row in sorted(curves.rows, key=lambda row: -row.auc.estimate)
        if not (row.name.kind == "fixed" or row.name.maximum or (row.name.kind, row.name.agreement) in UNUSUAL)
        for unit in (units if every_unit else units[:1])
        if unit in row.at
    ]
    header = ("scored by", "cost in", "floor", "at 10%", "at 20%", "at 40%", "at 60%", "cheapest within margin")
    note = "Shares are of the target's cost, scorer included. Empty: no threshold costs so little. The floor is what "
    note += "members and scorer cost every request. Cheapest: chosen on other examples; its interval is on these."
    return Table("Quality at fixed cost", header, tuple(lines), note=note)


def _bought(at: Budgets) -> list[str]:
    shares = [at.bought[share] for share in SHARES]
    return [f"{at.floor:.0%}", *(_number(point.quality) if point else "" for point in shares)]


def _cheap(row: RowResult, unit: Unit) -> tuple[str]:
    cheapest = row.cheapest
    if cheapest is None or cheapest.unit != unit:
        return ("",)
    if cheapest.threshold == inf:
        return ("none but the target",)
    held = "" if cheapest.holds else "; does not hold on these"
    return (f"{cheapest.cost:.0%} at t = {_number(cheapest.threshold)}: {_signed(cheapest.less_target)}{held}",)


def _front(front: ParetoFront) -> Table:
    lines = [
        (
            point.signal or f"{point.alone} alone",
            ", ".join(map(_number, point.thresholds)),
            f"{point.cost:.1%}",
            _number(point.quality),
            f"{point.rate:.1%}",
        )
        for point in front.points
    ]
    header = ("signal", "thresholds", f"cost ({UNIT_NAMES[front.unit]} / target's)", "quality", "first tier defers")
    return Table("Pareto front", header, tuple(lines), note="Chosen on other examples than these numbers are of.")


def label(name: RowName) -> str:
    """Return how a row's answers are scored, in words."""
    if name.kind == "chow_member":
        words = f"{name.signal} of {name.models[0]}"
    else:
        together = ", all members" if name.kind == "chow_ensemble" else ""
        words = f"{name.signal}{together} ({name.agreement})"
    return words + (" [paper's maximum]" if name.maximum else "")


def _kept(row: RowResult) -> str:
    if row.name.kind == "chow_member":
        return row.name.models[0]
    if row.name.kept != "selected":
        return f"always {row.name.kept}"
    return ", ".join(f"{model} {share:.0%}" for model, share in row.shares.items())


def _quantile(row: RowResult) -> str:
    return row.name.signal.partition("(")[2].rstrip(")")


def _number(value: float) -> str:
    """Return four digits, nothing for NaN, and "inf" or "-inf"."""
    if isnan(value):
        return ""
    return str(value) if isinf(value) else f"{value:.4f}"


def _cost(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def _interval(values: Interval) -> str:
    return f"{values.estimate:.4f} [{values.low:.4f}, {values.high:.4f}]"


def _signed(values: Interval) -> str:
    return f"{values.estimate:+.4f} [{values.low:+.4f}, {values.high:+.4f}]"


def remarks(cascade: CascadeResult) -> list[str]:
    """Return sentences that a reader must not miss: flags of the cascade and of its rows, and what is missing."""
    curves = cascade.curves
    by_flag: dict[str, list[str]] = {}
    for row in curves.rows if curves else ():
        for flag in row.flags:
            by_flag.setdefault(flag, []).append(label(row.name))
    notes = curves.notes if curves else ()
    flags = (f"{flag} ({', '.join(dict.fromkeys(names))})" for flag, names in by_flag.items())
    return [*cascade.flags, *notes, *flags]


def signature(source: Source) -> str:
    """Return the signature of a whole evaluation; each row has one of its own."""
    return (
        f"data {source.data_sha256[:12]}, models {source.models_sha256[:12]}, prompts "
        f"{source.prompts_sha256[:12]}, {source.examples} examples, seed {source.seed}, "
        f"{source.resamples} resamples, semantic-cascade {source.version}"
    )


def render(evaluation: Evaluation, console: "Console") -> None:
    """Print the tables and remarks of every cascade to a terminal."""
    from rich.markup import escape
    from rich.table import Table as RichTable

    for group in evaluation.groups:
        metric = group.metrics[0] if group.metrics else ""
        console.rule(f"{group.name}: {metric}, {group.test} examples ({group.fit} others to fit on)", align="left")
        if group.problem:
            console.print(group.problem, markup=False)
        for cascade in group.cascades:
            tiers = " -> ".join(" + ".join(tier) for tier in cascade.tiers)
            console.print(f"\n[bold]{escape(cascade.id)}[/bold]: {escape(tiers)}")
            for table in tables(group, cascade, every_unit=False):
                shown = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
                for number, name in enumerate(table.header):
                    shown.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
                for index, row in enumerate(table.rows):
                    cells = [escape(cell) for cell in row]
                    shown.add_row(
                        *(f"[bold]{cell}[/bold]" if (index, k) in table.bold else cell for k, cell in enumerate(cells))
                    )
                console.print(f"\n{table.title}", style="bold", markup=False)
                console.print(shown)
                if table.note:
                    console.print(table.note, style="dim", markup=False)
            for remark in remarks(cascade):
                console.print(f"! {remark}", style="yellow", markup=False)
    if left := evaluation.source.left_out:
        console.print(f"{left} examples are left out, since some model has not been asked about them yet.")
    console.print(f"\n{signature(evaluation.source)}", style="dim", markup=False)
