"""The report of an evaluation: an HTML page that works offline, Markdown, CSV, JSON, and PNGs of the curves."""

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from serve_app.errors import DataError
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.evaluate.tables import Table, label, remarks, signature, tables

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
    """What `write` does first, for those who want to know before they compute. Raises DataError."""
    with _written(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write(body: Body, folder: Path) -> list[Path]:
    """All files, into `folder`, which is made. PNGs only where matplotlib is installed. Raises DataError."""
    make_folder(folder)
    with _written(folder):
        return _write(body, folder)


def _write(body: Body, folder: Path) -> list[Path]:
    written = {
        "report.html": html(body),
        "report.md": markdown(body),
        "report.json": json.dumps(body, ensure_ascii=False, indent=1),
    }
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8", errors="replace")
    _write_csv(body, folder / "rows.csv")
    images = [] if find_spec("matplotlib") is None else list(_write_images(body, folder))
    return [folder / name for name in written] + [folder / "rows.csv", *images]


def _pairs(body: Body) -> Iterator[tuple[Body, Body]]:
    return ((group, cascade) for group in body["groups"] for cascade in group["cascades"])


def _title(group: Body, cascade: Body) -> str:
    return f"{group['name']}: {cascade['id']}"


def _tiers(cascade: Body) -> str:
    return " -> ".join(" + ".join(tier) for tier in cascade["tiers"])


def _about(group: Body, cascade: Body) -> str:
    return f"{_tiers(cascade)}. {cascade['metric']} on {group['test']} examples; {group['fit']} others to fit on."


# Markdown and CSV.


def markdown(body: Body) -> str:
    """The tables and remarks, with the images where they stand."""
    parts = ["# Cascade evaluation", signature(body["source"])]
    for group, cascade in _pairs(body):
        parts += [f"## {_title(group, cascade)}", _about(group, cascade)]
        parts += [f"**{remark}**" for remark in remarks(cascade)]
        if cascade.get("rows"):
            parts.append(f"![curves]({_image(group, cascade)})")
        for table in tables(group, cascade):
            parts += [f"### {table.title}", _markdown(table), *([table.note] if table.note else [])]
    return "\n\n".join(parts) + "\n"


def _markdown(table: Table) -> str:
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    for place, column in table.bold:
        rows[place][column] = f"**{rows[place][column]}**"
    lines = [[_cell(name) for name in table.header], ["---"] * len(table.header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _write_csv(body: Body, path: Path) -> None:
    """A line for every row of every cascade, with its signature."""
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        bounds = [f"{column}{end}" for column in COLUMNS for end in ("", "_low", "_high")]
        writer.writerow(["group", "cascade", "kind", "judged_by", "models", "kept", "metric", *bounds, "signature"])
        for group, cascade in _pairs(body):
            for row in cascade.get("rows", []):
                values = [value for column in COLUMNS for value in (row[column] or ["", "", ""])]
                named = [row["kind"], label(row), "+".join(row["models"]), row["kept"], cascade["metric"]]
                writer.writerow([group["name"], cascade["id"], *named, *values, row["signature"]])


# HTML.


def html(body: Body) -> str:
    """The whole page: no other file, and nothing from the network."""
    sections = [_section(number, group, cascade) for number, (group, cascade) in enumerate(_pairs(body))]
    links = [
        f'<a href="#s{number}">{escape(_title(group, cascade))}</a>'
        for number, (group, cascade) in enumerate(_pairs(body))
    ]
    data = [_plot(cascade) for _, cascade in _pairs(body) if cascade.get("rows")]
    filled = {
        "signature": escape(signature(body["source"])),
        "navigation": " ".join(links),
        "sections": "\n".join(sections),
        "data": json.dumps(data, ensure_ascii=False).replace("</", "<\\/"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: filled[found[1]], TEMPLATE.read_text(encoding="utf-8"))


def _section(number: int, group: Body, cascade: Body) -> str:
    parts = [f'<section><h2 id="s{number}">{escape(_title(group, cascade))}</h2>']
    parts.append(f'<p class="soft">{escape(_about(group, cascade))}</p>')
    parts += [f'<p class="warn">{escape(remark)}</p>' for remark in remarks(cascade)]
    if cascade.get("rows"):
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
            f'<td class="best">{escape(cell)}</td>' if (place, k) in table.bold else f"<td>{escape(cell)}</td>"
            for k, cell in enumerate(row)
        )
        for place, row in enumerate(table.rows)
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return f'<h3>{escape(table.title)}</h3><div class="scroll"><table><tr>{head}</tr>{body}</table></div>{note}'


def _looked_at(cascade: Body) -> Iterator[str]:
    shown = cascade.get("looked_at")
    if not shown:
        return
    for name in ("most", "least"):
        yield f"<h3>The requests that {escape(shown['signal'])} finds {name} agreed</h3>"
        yield from (_example(example) for example in shown[name])


def _example(example: Body) -> str:
    asked = "\n".join(text if isinstance(text, str) else json.dumps(text) for text in example["inputs"].values())
    answers = "".join(
        f"<div><b>{escape(model)}</b>{' (selected)' if model == example['selected'] else ''}"
        f' <span class="soft">quality {answer["quality"]:.3f}</span><pre>{escape(_said(answer))}</pre></div>'
        for model, answer in example["answers"].items()
    )
    references = " / ".join(example["references"][:5])
    agreement = example["agreement"] if isinstance(example["agreement"], str) else f"{example['agreement']:.3f}"
    return (
        f"<details open><summary>{escape(example['id'])}: agreement {agreement}</summary><pre>{escape(asked)}</pre>"
        f'<p class="soft">reference: {escape(references)}</p><div class="answers">{answers}</div></details>'
    )


def _said(answer: Body) -> str:
    return "(failed)" if answer["text"] is None else answer["text"] or "(empty)"


# Plots.


def _plot(cascade: Body) -> Body:
    """What the page's script needs of a cascade's rows."""
    curves = [
        {"label": _curve_label(row), "auc": row["auc"][0], "dashed": _dashed(row), "shown": _shown(row, cascade)}
        | row["curve"]
        for row in cascade["rows"]
    ]
    curves.append(_random(cascade))
    curves.sort(key=lambda curve: not curve["shown"])  # so that no two of them have the same colour
    return {"metric": cascade["metric"], "target": cascade["baselines"]["target"][0], "curves": curves}


def _curve_label(row: Body) -> str:
    return label(row) + (f", {row['kept']} kept" if row["kind"] == "fixed" else "")


def _dashed(row: Body) -> bool:
    return bool(row["kind"].startswith("chow"))


def _shown(row: Body, cascade: Body) -> bool:
    """At first: every signal in the paper's policy, and the best baseline."""
    chow = cascade["best_chow"]
    is_best = chow is not None and all(row[key] == value for key, value in chow.items())
    return (row["kind"] == "semantic" and row["agreement"] == "max") or is_best


def _random(cascade: Body) -> Body:
    """Random deferral with the best member: a straight line."""
    members = cascade["baselines"]["members"]
    best = max(members, key=lambda model: members[model]["quality"][0])
    quality = [members[best]["quality"][0], cascade["baselines"]["target"][0]]
    named: dict[str, Any] = {"label": f"random, {best} kept", "auc": members[best]["random"][0]}
    return named | {"dashed": True, "shown": True, "rate": [0, 1], "quality": quality, "threshold": [None, None]}


def _image(group: Body, cascade: Body) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"curves-{group['name']}-{cascade['id']}") + ".png"


def _write_images(body: Body, folder: Path) -> Iterator[Path]:
    """The curves that the page shows at first, against the deferral rate and against the first known cost."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    for group, cascade in _pairs(body):
        if not cascade.get("rows"):
            continue
        plot = _plot(cascade)
        shown = [curve for curve in plot["curves"] if curve["shown"]]
        unit = next((unit for unit in ("flops", "usd", "device_s") if any(unit in curve for curve in shown)), None)
        axes = [("rate", "deferral rate"), *([(unit, f"cost in {unit} / target's")] if unit else [])]
        figure = Figure(figsize=(6.4 * len(axes), 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        for place, (axis, name) in enumerate(axes):
            drawn = figure.add_subplot(1, len(axes), place + 1)
            for curve in shown:
                if axis in curve:
                    style = "--" if curve["dashed"] else "-"
                    drawn.plot(curve[axis], curve["quality"], style, label=f"{curve['label']} ({curve['auc']:.4f})")
            drawn.axhline(plot["target"], color="grey", linestyle=":", label="always the target")
            drawn.set(xlabel=name, ylabel=plot["metric"])
            drawn.grid(alpha=0.3)
            if place == 0:
                drawn.legend(fontsize=7)
        figure.suptitle(_title(group, cascade))
        path = folder / _image(group, cascade)
        figure.savefig(path, dpi=120)
        yield path
