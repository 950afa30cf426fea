"""The report as Markdown."""

from serve_app.evaluation.evaluate.report.headings import about, image_name, pairs, title
from serve_app.evaluation.evaluate.results import Evaluation
from serve_app.evaluation.evaluate.tables import tables
from serve_app.evaluation.evaluate.words import remarks, signature
from serve_app.terminal.table import Table


def markdown(evaluation: Evaluation) -> str:
    """Return the tables and remarks as Markdown, with links to the images."""
    parts = ["# Cascade evaluation", signature(evaluation.source)]
    for group, cascade in pairs(evaluation):
        parts += [f"## {title(group, cascade)}", about(group, cascade)]
        parts += [f"**{remark}**" for remark in remarks(cascade)]
        if cascade.curves:
            parts.append(f"![curves]({image_name(group, cascade)})")
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
