"""The results of an evaluation as tables: laid out once, for people at a terminal, for Markdown, HTML and CSV.

As in the paper a row is an ensemble or a model and a column a signal, with the area under the deferral curve (tables 7
to 27); what the paper does not have follows: intervals, gains, budgets and costs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serve_app.evaluation.analysis.json_values import Body

if TYPE_CHECKING:
    from rich.console import Console

UNIT_NAMES = {"flops": "FLOPs", "usd": "US dollars", "device_s": "device-seconds", "latency_s": "latency"}

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


def tables(group: Body, cascade: Body, *, every_unit: bool = True) -> Iterator[Table]:
    """Everything about one cascade on one group of examples; budgets in every unit, or only the first."""
    yield _models(group, cascade)
    if "front" in cascade:
        yield _front(cascade)
        return
    yield from _paper(cascade)
    yield _areas(cascade)
    yield _budgets(cascade, every_unit)


def _models(group: Body, cascade: Body) -> Table:
    """The paper's Table 6, with costs."""
    metrics = group["metrics"]
    rows = [
        (
            model + (" (target)" if model == cascade["target"] else ""),
            *(_number(facts["quality"][metric]) for metric in metrics),
            *(_cost(facts["cost"][unit]) for unit in UNIT_NAMES),
            str(facts["failed"]),
        )
        for model, facts in cascade["models"].items()
    ]
    return Table("Models alone", ("model", *metrics, *UNIT_NAMES.values(), "failed"), tuple(rows))


def _paper(cascade: Body) -> Iterator[Table]:
    """The paper's three tables of areas: single models by token confidence, ensembles by it, ensembles by signals."""
    members, target = cascade["baselines"]["members"], cascade["target"]
    rows = cascade["rows"]
    columns = ("chow_sum", "chow_avg")
    for kind, title in (("chow_member", "token-level cascades"), ("chow_ensemble", "token-level ensemble cascades")):
        alike = [row for row in rows if row["kind"] == kind]
        if not alike:
            continue
        lines = []
        for models, agreement in dict.fromkeys((tuple(row["models"]), row["agreement"]) for row in alike):
            own = [row for row in alike if (tuple(row["models"]), row["agreement"]) == (models, agreement)]
            areas = [next(row["auc"][0] for row in own if row["signal"] == signal) for signal in columns]
            best = next(row for row in own if row["maximum"])
            held = next(row for row in own if row["signal"].startswith("chow_quantile") and not row["maximum"])
            name = models[0] if kind == "chow_member" else f"{', '.join(models)} ({agreement})"
            random = [_number(members[models[0]]["random"][0])] if kind == "chow_member" else []
            cells = [*areas, best["auc"][0], held["auc"][0]]
            lines.append((name, *random, *map(_number, cells[:3]), _q(best), _number(cells[3]), _q(held)))
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


def _semantic(rows: Sequence[Body], target: str) -> Iterator[Table]:
    found = [row for row in rows if row["kind"] == "semantic"]
    if not found:
        return
    signals = list(dict.fromkeys(row["signal"] for row in found))
    lines, bold = [], set()
    for place, agreement in enumerate(("max", "mean")):
        own = {row["signal"]: row["auc"][0] for row in found if row["agreement"] == agreement}
        best = max(own, key=lambda signal: own[signal])
        bold.add((place, signals.index(best) + 1))
        name = f"{', '.join(found[0]['models'])} ({agreement})"
        lines.append((name, *(_number(own[signal]) for signal in signals)))
    title = f"AUC, semantic cascades, deferring to {target}"
    yield Table(title, ("Ensemble (s is)", *signals), tuple(lines), frozenset(bold))


def _areas(cascade: Body) -> Table:
    """Every row with its intervals, best first, between the baselines."""
    base = cascade["baselines"]
    lines = [("oracle", "the best member answer", _interval(base["oracle"]), "", "", "", "")]
    lines.append(
        (f"always {cascade['target']} (quality)", cascade["target"], _interval(base["target"]), "", "", "", "")
    )
    lines += [
        (f"oracle of {model} alone", model, _interval(facts["oracle"]), "", "", "", "")
        for model, facts in base["members"].items()
    ]
    for row in sorted(cascade["rows"], key=lambda row: -row["auc"][0]):
        lines.append(
            (
                label(row),
                _kept(row),
                _interval(row["auc"]),
                _signed(row["over_random"]),
                _signed(row["by_selection"]),
                _signed(row["over_best_chow"]) if row["over_best_chow"] else "",
                _number(row["partial_oracle"][0]) if row["partial_oracle"] else "",
            )
        )
    lines += [("random", model, _interval(facts["random"]), "", "", "", "") for model, facts in base["members"].items()]
    lines += [
        (f"never {cascade['target']} (quality)", model, _interval(facts["quality"]), "", "", "", "")
        for model, facts in base["members"].items()
    ]
    best = cascade["best_chow"]
    note = "over random: the same answers kept, deferred at random, so what deferral gains. by selection: what keeping "
    note += "the selected answer gains over the best member's. "
    if best:
        note += f"best Chow, chosen on held-out examples: {label(best)}. "
    note += "Intervals: 95%, paired bootstrap."
    header = ("scored by", "kept", "AUC", "over random", "by selection", "over best Chow", "partial oracle")
    return Table("Areas under the deferral curve", header, tuple(lines), note=note)


def _budgets(cascade: Body, every_unit: bool) -> Table:
    """Quality at fixed shares of the target's cost, and the cheapest point within the margin."""
    units = list(dict.fromkeys(unit for row in cascade["rows"] for unit in row["at"]))
    lines = [
        (label(row), UNIT_NAMES[unit], *_bought(row["at"][unit]), *_cheap(row, unit))
        for row in sorted(cascade["rows"], key=lambda row: -row["auc"][0])
        if not (row["kind"] == "fixed" or row["maximum"] or (row["kind"], row["agreement"]) in UNUSUAL)
        for unit in (units if every_unit else units[:1])
        if unit in row["at"]
    ]
    header = ("scored by", "cost in", "floor", "at 10%", "at 20%", "at 40%", "at 60%", "cheapest within margin")
    note = "Shares are of the target's cost, scorer included. Empty: no threshold costs so little. The floor is what "
    note += "members and scorer cost every request. Cheapest: chosen on other examples; its interval is on these."
    return Table("Quality at fixed cost", header, tuple(lines), note=note)


def _bought(at: Body) -> list[str]:
    shares = [at["bought"][share] for share in ("0.1", "0.2", "0.4", "0.6")]
    return [f"{at['floor']:.0%}", *(_number(found["quality"]) if found else "" for found in shares)]


def _cheap(row: Body, unit: str) -> tuple[str]:
    found = row["cheapest"]
    if not found or found["unit"] != unit:
        return ("",)
    if found["threshold"] == "inf":
        return ("none but the target",)
    held = "" if found["holds"] else "; does not hold on these"
    cost, threshold = f"{found['cost']:.0%}", _number(found["threshold"])
    return (f"{cost} at t = {threshold}: {_signed(found['less_target'])}{held}",)


def _front(cascade: Body) -> Table:
    front = cascade["front"]
    lines = [
        (
            point["signal"] or "the target alone",
            ", ".join(map(_number, point["thresholds"])),
            f"{point['cost']:.1%}",
            _number(point["quality"]),
            f"{point['rate']:.1%}",
        )
        for point in front["points"]
    ]
    header = ("signal", "thresholds", f"cost ({UNIT_NAMES[front['unit']]} / target's)", "quality", "first tier defers")
    return Table("Pareto front", header, tuple(lines), note="Selection on other examples than these numbers are of.")


def label(row: Body) -> str:
    """What judges, in words."""
    if row["kind"] == "chow_member":
        name = f"{row['signal']} of {row['models'][0]}"
    else:
        together = ", all members" if row["kind"] == "chow_ensemble" else ""
        name = f"{row['signal']}{together} ({row['agreement']})"
    return name + (" [paper's maximum]" if row["maximum"] else "")


def _kept(row: Body) -> str:
    if row["kind"] == "chow_member":
        return str(row["models"][0])
    if row["kept"] != "selected":
        return f"always {row['kept']}"
    return ", ".join(f"{model} {share:.0%}" for model, share in row.get("shares", {}).items())


def _q(row: Body) -> str:
    return str(row["signal"]).partition("(")[2].rstrip(")")


def _number(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{float(value):.4f}"


def _cost(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def _interval(values: Sequence[float]) -> str:
    return f"{values[0]:.4f} [{values[1]:.4f}, {values[2]:.4f}]"


def _signed(values: Sequence[float]) -> str:
    return f"{values[0]:+.4f} [{values[1]:+.4f}, {values[2]:+.4f}]"


def remarks(cascade: Body) -> list[str]:
    """Sentences that a reader must not miss: flags of the cascade and of its rows, and what could not be had."""
    found = [*cascade["flags"], *cascade.get("notes", [])]
    by_flag: dict[str, list[str]] = {}
    for row in cascade.get("rows", []):
        for flag in row["flags"]:
            by_flag.setdefault(flag, []).append(label(row))
    return [*found, *(f"{flag} ({', '.join(dict.fromkeys(names))})" for flag, names in by_flag.items())]


def signature(source: Mapping[str, Any]) -> str:
    """Of a whole evaluation; each row has one of its own."""
    return (
        f"data {source['data_sha256'][:12]}, models {source['models_sha256'][:12]}, prompts "
        f"{source['prompts_sha256'][:12]}, {source['examples']} examples, seed {source['seed']}, "
        f"{source['resamples']} resamples, semantic-cascade {source['version']}"
    )


def render(body: Body, console: "Console") -> None:
    """Show it at a terminal."""
    from rich.markup import escape
    from rich.table import Table as RichTable

    for group in body["groups"]:
        metric = group["metrics"][0] if group["metrics"] else ""
        console.rule(
            f"{group['name']}: {metric}, {group['test']} examples ({group['fit']} others to fit on)", align="left"
        )
        if group["problem"]:
            console.print(group["problem"], markup=False)
        for cascade in group["cascades"]:
            tiers = " -> ".join(" + ".join(tier) for tier in cascade["tiers"])
            console.print(f"\n[bold]{escape(cascade['id'])}[/bold]: {escape(tiers)}")
            for table in tables(group, cascade, every_unit=False):
                shown = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
                for number, name in enumerate(table.header):
                    shown.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
                for place, row in enumerate(table.rows):
                    cells = [escape(cell) for cell in row]
                    shown.add_row(
                        *(f"[bold]{cell}[/bold]" if (place, k) in table.bold else cell for k, cell in enumerate(cells))
                    )
                console.print(f"\n{table.title}", style="bold", markup=False)
                console.print(shown)
                if table.note:
                    console.print(table.note, style="dim", markup=False)
            for remark in remarks(cascade):
                console.print(f"! {remark}", style="yellow", markup=False)
    if left := body["source"]["left_out"]:
        console.print(f"{left} examples are left out, since some model has not been asked about them yet.")
    console.print(f"\n{signature(body['source'])}", style="dim", markup=False)
