"""The report as an HTML page that works offline."""

import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

from serve_app.evaluation.evaluate.report.headings import about, pairs, title
from serve_app.evaluation.evaluate.report.lines import plot
from serve_app.evaluation.evaluate.results import CascadeResult, Evaluation, GroupResult
from serve_app.evaluation.evaluate.shown_results import ShownAnswer, ShownExample
from serve_app.evaluation.evaluate.tables import tables
from serve_app.evaluation.evaluate.words import remarks, signature
from serve_app.terminal.table import Table

TEMPLATE = Path(__file__).with_name("page.html")


def html(evaluation: Evaluation) -> str:
    """Return the whole page, which needs no other file and no network."""
    sections = [_section(number, group, cascade) for number, (group, cascade) in enumerate(pairs(evaluation))]
    links = [
        f'<a href="#s{number}">{escape(title(group, cascade))}</a>'
        for number, (group, cascade) in enumerate(pairs(evaluation))
    ]
    data = [plot(cascade, cascade.curves) for _, cascade in pairs(evaluation) if cascade.curves]
    values = {
        "signature": escape(signature(evaluation.source)),
        "navigation": " ".join(links),
        "sections": "\n".join(sections),
        "data": json.dumps(data, ensure_ascii=False).replace("</", "<\\/"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], TEMPLATE.read_text(encoding="utf-8"))


def _section(number: int, group: GroupResult, cascade: CascadeResult) -> str:
    parts = [f'<section><h2 id="s{number}">{escape(title(group, cascade))}</h2>']
    parts.append(f'<p class="soft">{escape(about(group, cascade))}</p>')
    parts += [f'<p class="warn">{escape(remark)}</p>' for remark in remarks(cascade)]
    if cascade.curves:
        parts.append(
            '<p>Quality against <select></select> <label><input type="checkbox" checked> 95% bands</label> '
            '<span class="soft">dots: where a threshold leads</span></p>'
            '<div class="plot"><div></div><div class="legend"></div></div><p class="tip soft">Point at a curve.</p>'
            '<p class="note">Bands: 95%, by the standard error of the mean quality at each threshold.</p>'
        )
    parts += [_table(table) for table in tables(group, cascade)]
    parts += _looked_at(cascade)
    return "\n".join([*parts, "</section>"])


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    rows = ["".join(_cell(table, row, column) for column in range(len(table.header))) for row in range(len(table.rows))]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    head = f"<thead><tr>{head}</tr></thead>"
    return f'<h3>{escape(table.title)}</h3><div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>{note}'


def _cell(table: Table, row: int, column: int) -> str:
    """Return a cell, whose numbers stay on one line each, with the column's name for narrow screens."""
    if column in table.words:
        text = escape(table.rows[row][column])
    else:
        text = " ".join(f"<span>{escape(part)}</span>" for part in table.parts(row, column) if part)
    kinds = [name for name, holds in (("best", (row, column) in table.bold), ("words", column in table.words)) if holds]
    class_ = f' class="{" ".join(kinds)}"' if kinds else ""
    return f'<td data-label="{escape(table.header[column])}"{class_}>{text}</td>'


def _looked_at(cascade: CascadeResult) -> Iterator[str]:
    extremes = cascade.curves.looked_at if cascade.curves else None
    if extremes is None:
        return
    for name, examples in (("most", extremes.most), ("least", extremes.least)):
        yield f"<h3>The requests that {escape(extremes.signal)} finds {name} agreed</h3>"
        yield from map(_example, examples)
    if extremes.worst:
        at = f"{escape(extremes.signal)}, deferring about {extremes.rate:.0%}"
        yield f"<h3>Agreed and wrong: the worst of what is accepted ({at})</h3>"
        yield from map(_example, extremes.worst)


def _example(example: ShownExample) -> str:
    request = "\n".join(text if isinstance(text, str) else json.dumps(text) for text in example.inputs.values())
    answers = "".join(
        f"<div><b>{escape(model)}</b>{' (selected)' if model == example.selected else ''}"
        f' <span class="soft">quality {answer.quality:.3f}</span>{_answer(answer)}</div>'
        for model, answer in example.answers.items()
    )
    references = " / ".join(example.references[:5])
    return (
        f"<details open><summary>{escape(example.id)}: agreement {example.agreement:.3f}</summary>"
        f"<pre>{escape(request)}</pre>"
        f'<p class="soft">reference: {escape(references)}</p><div class="answers">{answers}</div></details>'
    )


def _answer(answer: ShownAnswer) -> str:
    compared = f'<p class="soft">compared: {escape(answer.compared or "(nothing)")}</p>'
    text = "(failed)" if answer.text is None else answer.text or "(empty)"
    return f"{'' if answer.compared is None else compared}<pre>{escape(text)}</pre>"
