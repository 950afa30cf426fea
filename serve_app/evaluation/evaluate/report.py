"""The report of an evaluation: an HTML page that works offline, Markdown, CSV, JSON, and PNGs of the curves."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

from serve_app.errors import DataError
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.json_values import Body, number, plain
from serve_app.evaluation.evaluate.results import (
    CascadeResult,
    CurvePoints,
    Curves,
    Evaluation,
    GroupResult,
    RowName,
    RowResult,
    ShownAnswer,
    ShownExample,
)
from serve_app.evaluation.evaluate.tables import Table, label, remarks, signature, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOTTED_UNITS: tuple[Unit, ...] = ("flops", "usd", "device_s")
"""The first of them that is known is plotted, beside the deferral rate."""
TEMPLATE = Path(__file__).with_name("report.html")
COLUMNS = ("auc", "over_random", "by_selection", "over_best_chow")
"""Of the CSV, each with its interval."""


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"The report {str(folder)!r} cannot be written: {error.strerror}.") from None


def make_folder(folder: Path) -> None:
    """Make the report's folder, before anything is computed. Raises DataError if it cannot be made."""
    with _written(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write all files into `folder`, and return their paths.

    PNGs are written only if matplotlib is installed. Raises DataError if a file cannot be written.
    """
    make_folder(folder)
    with _written(folder):
        return _write(evaluation, folder)


def _write(evaluation: Evaluation, folder: Path) -> list[Path]:
    written = {
        "report.html": html(evaluation),
        "report.md": markdown(evaluation),
        "report.json": json.dumps(evaluation.to_json(), ensure_ascii=False, indent=1),
    }
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8", errors="replace")
    _write_csv(evaluation, folder / "rows.csv")
    images = [] if find_spec("matplotlib") is None else list(_write_images(evaluation, folder))
    return [folder / name for name in written] + [folder / "rows.csv", *images]


def _pairs(evaluation: Evaluation) -> Iterator[tuple[GroupResult, CascadeResult]]:
    return ((group, cascade) for group in evaluation.groups for cascade in group.cascades)


def _title(group: GroupResult, cascade: CascadeResult) -> str:
    return f"{group.name}: {cascade.id}"


def _tiers(cascade: CascadeResult) -> str:
    return " -> ".join(" + ".join(tier) for tier in cascade.tiers)


def _about(group: GroupResult, cascade: CascadeResult) -> str:
    return f"{_tiers(cascade)}. {cascade.metric} on {group.test} examples; {group.fit} others to fit on."


# Markdown and CSV.


def markdown(evaluation: Evaluation) -> str:
    """Return the tables and remarks as Markdown, with links to the images."""
    parts = ["# Cascade evaluation", signature(evaluation.source)]
    for group, cascade in _pairs(evaluation):
        parts += [f"## {_title(group, cascade)}", _about(group, cascade)]
        parts += [f"**{remark}**" for remark in remarks(cascade)]
        if cascade.curves:
            parts.append(f"![curves]({_image(group, cascade)})")
        for table in tables(group, cascade):
            parts += [f"### {table.title}", _markdown(table), *([table.note] if table.note else [])]
    return "\n\n".join(parts) + "\n"


def _markdown(table: Table) -> str:
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    for row, column in table.bold:
        rows[row][column] = f"**{rows[row][column]}**"
    lines = [[_cell(name) for name in table.header], ["---"] * len(table.header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write a line for every row of every cascade, with its signature."""
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        bounds = [f"{column}{end}" for column in COLUMNS for end in ("", "_low", "_high")]
        writer.writerow(["group", "cascade", "kind", "judged_by", "models", "kept", "metric", *bounds, "signature"])
        for group, cascade in _pairs(evaluation):
            for row in cascade.curves.rows if cascade.curves else ():
                name, intervals = row.name, (row.auc, row.over_random, row.by_selection, row.over_best_chow)
                values = [value for interval in intervals for value in plain(interval) or ("", "", "")]
                named = [name.kind, label(name), "+".join(name.models), name.kept, cascade.metric]
                writer.writerow([group.name, cascade.id, *named, *values, row.signature])


# HTML.


def html(evaluation: Evaluation) -> str:
    """Return the whole page, which needs no other file and no network."""
    sections = [_section(number, group, cascade) for number, (group, cascade) in enumerate(_pairs(evaluation))]
    links = [
        f'<a href="#s{number}">{escape(_title(group, cascade))}</a>'
        for number, (group, cascade) in enumerate(_pairs(evaluation))
    ]
    data = [_plot(cascade, cascade.curves) for _, cascade in _pairs(evaluation) if cascade.curves]
    filled = {
        "signature": escape(signature(evaluation.source)),
        "navigation": " ".join(links),
        "sections": "\n".join(sections),
        "data": json.dumps(data, ensure_ascii=False).replace("</", "<\\/"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: filled[found[1]], TEMPLATE.read_text(encoding="utf-8"))


def _section(number: int, group: GroupResult, cascade: CascadeResult) -> str:
    parts = [f'<section><h2 id="s{number}">{escape(_title(group, cascade))}</h2>']
    parts.append(f'<p class="soft">{escape(_about(group, cascade))}</p>')
    parts += [f'<p class="warn">{escape(remark)}</p>' for remark in remarks(cascade)]
    if cascade.curves:
        parts.append(
            '<p>Quality against <select></select> <span class="soft">dots: where a threshold leads</span></p>'
            '<div class="plot"><div></div><div class="legend"></div></div><p class="tip soft">Point at a curve.</p>'
        )
    parts += [_table(table) for table in tables(group, cascade)]
    parts += _looked_at(cascade)
    return "\n".join([*parts, "</section>"])


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    rows = [
        "".join(
            f'<td class="best">{escape(cell)}</td>' if (number, k) in table.bold else f"<td>{escape(cell)}</td>"
            for k, cell in enumerate(row)
        )
        for number, row in enumerate(table.rows)
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return f'<h3>{escape(table.title)}</h3><div class="scroll"><table><tr>{head}</tr>{body}</table></div>{note}'


def _looked_at(cascade: CascadeResult) -> Iterator[str]:
    shown = cascade.curves.looked_at if cascade.curves else None
    if shown is None:
        return
    for name, examples in (("most", shown.most), ("least", shown.least)):
        yield f"<h3>The requests that {escape(shown.signal)} finds {name} agreed</h3>"
        yield from map(_example, examples)


def _example(example: ShownExample) -> str:
    request = "\n".join(text if isinstance(text, str) else json.dumps(text) for text in example.inputs.values())
    answers = "".join(
        f"<div><b>{escape(model)}</b>{' (selected)' if model == example.selected else ''}"
        f' <span class="soft">quality {answer.quality:.3f}</span><pre>{escape(_text(answer))}</pre></div>'
        for model, answer in example.answers.items()
    )
    references = " / ".join(example.references[:5])
    return (
        f"<details open><summary>{escape(example.id)}: agreement {example.agreement:.3f}</summary>"
        f"<pre>{escape(request)}</pre>"
        f'<p class="soft">reference: {escape(references)}</p><div class="answers">{answers}</div></details>'
    )


def _text(answer: ShownAnswer) -> str:
    return "(failed)" if answer.text is None else answer.text or "(empty)"


# Plots.


@dataclass(frozen=True, slots=True)
class _Line:
    """A curve of a plot; `shown`: at first, `dashed`: not the cascade's own policy."""

    label: str
    area: float
    dashed: bool
    shown: bool
    points: CurvePoints

    def to_json(self) -> Body:
        own = {"label": self.label, "auc": number(self.area), "dashed": self.dashed, "shown": self.shown}
        return own | self.points.to_json()


def _plot(cascade: CascadeResult, curves: Curves) -> Body:
    """Return what the page's script needs of a cascade's rows."""
    target = number(curves.baselines.target.estimate)
    return {"metric": cascade.metric, "target": target, "curves": [line.to_json() for line in _lines(curves)]}


def _lines(curves: Curves) -> list[_Line]:
    """Return a line for each row and one for random deferral; those shown first come first, in colours of their own."""
    lines = [
        _Line(
            _curve_label(row.name), row.auc.estimate, row.name.kind.startswith("chow"), _shown(row, curves), row.curve
        )
        for row in curves.rows
    ]
    return sorted([*lines, _random(curves)], key=lambda line: not line.shown)


def _curve_label(name: RowName) -> str:
    return label(name) + (f", {name.kept} kept" if name.kind == "fixed" else "")


def _shown(row: RowResult, curves: Curves) -> bool:
    """Return whether the row is every signal's in the paper's policy, or the best baseline."""
    return (row.name.kind == "semantic" and row.name.agreement == "max") or row.name == curves.best_chow


def _random(curves: Curves) -> _Line:
    """Return random deferral with the best member: a straight line."""
    members, target = curves.baselines.members, curves.baselines.target.estimate
    best = max(members, key=lambda model: members[model].quality.estimate)
    points = CurvePoints((0, 1), (members[best].quality.estimate, target), (nan, nan), {})
    return _Line(f"random, {best} kept", members[best].random.estimate, dashed=True, shown=True, points=points)


def _image(group: GroupResult, cascade: CascadeResult) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"curves-{group.name}-{cascade.id}") + ".png"


def _write_images(evaluation: Evaluation, folder: Path) -> Iterator[Path]:
    """Write the curves that the page shows at first, against the deferral rate and the first known cost."""
    for group, cascade in _pairs(evaluation):
        if cascade.curves is None:
            continue
        figure = _figure(cascade, cascade.curves)
        figure.suptitle(_title(group, cascade))
        path = folder / _image(group, cascade)
        figure.savefig(path, dpi=120)
        yield path


def _figure(cascade: CascadeResult, curves: Curves) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [line for line in _lines(curves) if line.shown]
    unit = next((unit for unit in PLOTTED_UNITS if any(unit in line.points.costs for line in lines)), None)
    figure = Figure(figsize=(12.8 if unit else 6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if unit else 1, squeeze=False)[0]
    _draw(axes[0], [(line, line.points.rate) for line in lines], "deferral rate", cascade, curves)
    axes[0].legend(fontsize=7)
    if unit:
        priced = [(line, costs) for line in lines if (costs := line.points.costs.get(unit)) is not None]
        _draw(axes[1], priced, f"cost in {unit} / target's", cascade, curves)
    return figure


def _draw(
    axes: "Axes", lines: Sequence[tuple[_Line, Sequence[float]]], name: str, cascade: CascadeResult, curves: Curves
) -> None:
    for line, x in lines:
        style = "--" if line.dashed else "-"
        axes.plot(x, line.points.quality, style, label=f"{line.label} ({line.area:.4f})")
    axes.axhline(curves.baselines.target.estimate, color="grey", linestyle=":", label="always the target")
    axes.set(xlabel=name, ylabel=cascade.metric)
    axes.grid(alpha=0.3)
