"""Logs -> a page of plots that needs no network, and the same in short as Markdown."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import cycle
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from serve_app.core.percentiles import nearest_rank

from .log import Result, Run
from .summary import HEADER, cost_ratio, markdown, sentences, summarize

COLOURS = ("#1f5fa8", "#d1651c", "#2e8b57", "#8a4fa3", "#b03a48", "#6b7280")
DASHES = ("solid", "dot", "dash", "dashdot")
WINDOWS = 40
"""Points of a curve over time, at most."""

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem;color:#1f2937}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2rem 0 .3rem}p.note{color:#6b7280;margin:.2rem 0}
table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.15rem .8rem .15rem 0;text-align:right}
td:first-child,th:first-child{text-align:left;white-space:pre}th{border-bottom:1px solid #9ca3af}
pre{background:#f3f4f6;padding:.6rem;overflow:auto}.wide{overflow-x:auto}"""

Named = tuple[str, Run]


def page(runs: Sequence[Named]) -> str:
    """Return one HTML page: plots over time of every run, one under the other's axes, and each run's figures."""
    plots = [_section(*plot) for plot in _plots(runs)]
    tables = [_table(name, run) for name, run in runs]
    title = "Load test: " + " against ".join(name for name, _ in runs)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body><h1>{escape(title)}</h1>"
        + "".join([*tables, _ratios_html(runs), *plots])
        + "</body></html>"
    )


def report_markdown(runs: Sequence[Named]) -> str:
    """Return the figures of each run, and their ratios if there are two."""
    parts = [f"## {name}\n\n{markdown(summarize(run))}\n\n{_signature(run)}" for name, run in runs]
    if rows := ratios(runs):
        (first, _), (second, _) = runs
        lines = [f"| | {first} | {second} | ratio |", "| --- | ---: | ---: | ---: |"]
        parts.append(
            "\n".join([f"## {first} against {second}\n", *lines, *("| " + " | ".join(r) + " |" for r in rows)])
        )
    return "\n\n".join(parts) + "\n"


def ratios(runs: Sequence[Named]) -> list[list[str]]:
    """Return figure, first, second, first / second of two runs, over the requests that each of them answered."""
    if len(runs) != 2:
        return []
    rows = []
    for name, value in _COMPARED:
        first, second = (value([r for r in run.results if r.failure is None]) for _, run in runs)
        if first is not None and second is not None:
            rows.append([name, f"{first:.4g}", f"{second:.4g}", f"{first / second:.2f}" if second else "-"])
    return rows


def _latency(percent: float | None, deferred: bool | None = None) -> Callable[[list[Result]], float | None]:
    def value(results: list[Result]) -> float | None:
        values = [r.latency_s for r in results if deferred is None or r.deferred is deferred]
        if percent is None:
            return sum(values) / len(values) if values else None
        return nearest_rank(values, percent)

    return value


def _first_token(percent: float) -> Callable[[list[Result]], float | None]:
    return lambda results: nearest_rank([r.first_token_s for r in results if r.first_token_s is not None], percent)


def _spent(unit: str) -> Callable[[list[Result]], float | None]:
    def value(results: list[Result]) -> float | None:
        values = [spent for r in results if (spent := getattr(r, unit)) is not None]
        return sum(values) / len(values) if values and any(values) else None

    return value


_COMPARED: tuple[tuple[str, Callable[[list[Result]], float | None]], ...] = (
    ("requests answered", lambda results: float(len(results))),
    ("mean latency, s", _latency(None)),
    ("p50 latency, s", _latency(50)),
    ("p95 latency, s", _latency(95)),
    ("p99 latency, s", _latency(99)),
    ("p50 first token, s", _first_token(50)),
    ("p95 first token, s", _first_token(95)),
    ("FLOPs a request", _spent("flops")),
    ("USD a request", _spent("usd")),
)


def _plots(runs: Sequence[Named]) -> list[tuple[str, str, go.Figure]]:
    curves: list[tuple[str, str, str, list[go.Scatter]]] = [
        ("Latency", "of the requests sent in each window, by nearest rank", "seconds", []),
        ("Time to first token", "streams only", "seconds", []),
        ("Throughput", "requests answered in each window, and (thin) sent", "requests / s", []),
        ("Deferral", "share of the requests to cascades that went past their members", "share", []),
        ("Cost", "of the answers, over what the target alone would have cost", "ratio", []),
        ("Errors", "failed requests in each window", "failed / s", []),
        ("Replicas and users", "as /readyz counted them", "number", []),
    ]
    end_s = max(run.duration_s for _, run in runs)
    latency, first, throughput, deferral, cost, errors, replicas = (lines for *_, lines in curves)
    for number, (name, run) in enumerate(runs):
        label = f"{name} " if len(runs) > 1 else ""
        dash, colour = DASHES[number % len(DASHES)], COLOURS[number % len(COLOURS)]
        width, windows = _windows(run)
        for percent, tone in ((50, COLOURS[2]), (95, COLOURS[0]), (99, COLOURS[1])):
            for lines, value in ((latency, _latency(percent)), (first, _first_token(percent))):
                lines.append(_line(windows, lambda rs, v=value: v(_answered(rs)), f"{label}p{percent}", tone, dash))
        ended = _windows(run, at_end=True)[1]
        throughput.append(_line(ended, lambda rs, w=width: len(_answered(rs)) / w, f"{label}answered", colour))
        throughput.append(_line(windows, lambda rs, w=width: len(rs) / w, f"{label}sent", colour, "dot", 1))
        deferral.append(_line(windows, _deferral, f"{label}deferred", colour))
        cost.append(_line(windows, lambda rs: cost_ratio(_answered(rs))[0], f"{label}cost", colour))
        for kind, tone in zip(sorted({r.failure for r in run.results if r.failure}), cycle(COLOURS), strict=False):
            rate = _line(
                ended, lambda rs, k=kind, w=width: sum(r.failure == k for r in rs) / w, label + kind, tone, dash
            )
            errors.append(rate)
        replicas += _replicas(run, label, dash)
    return [
        (title, note, _figure(unit, lines, end_s))
        for title, note, unit, lines in curves
        if any(len(x.x) for x in lines)
    ]


def _windows(run: Run, *, at_end: bool = False) -> tuple[float, list[tuple[float, list[Result]]]]:
    """Return the windows' width in seconds, and the requests by the middle of the window of their sending (or end)."""
    count = max(1, min(WINDOWS, int(run.duration_s)))
    width = run.duration_s / count
    windows: list[tuple[float, list[Result]]] = [((number + 0.5) * width, []) for number in range(count)]
    for result in run.results:
        time_s = result.time - run.start + (result.latency_s if at_end else 0.0)
        windows[min(count - 1, max(0, int(time_s / width)))][1].append(result)
    return width, windows


def _line(
    windows: Iterable[tuple[float, list[Result]]],
    value: Callable[[list[Result]], float | None],
    name: str,
    colour: str,
    dash: str = "solid",
    width: float = 2,
) -> go.Scatter:
    points = [(time_s, y) for time_s, results in windows if (y := value(results)) is not None]
    line = {"color": colour, "dash": dash, "width": width}
    mode = "lines+markers" if len(points) < 12 else "lines"
    return go.Scatter(x=[x for x, _ in points], y=[y for _, y in points], name=name, mode=mode, line=line)


def _replicas(run: Run, label: str, dash: str) -> list[go.Scatter]:
    times = [sample["time"] - run.start for sample in run.samples]
    lines: list[tuple[str, list[Any]]] = [
        (name, [sample["replicas"].get(name) for sample in run.samples])
        for name in sorted({name for sample in run.samples for name in sample["replicas"]})
    ]
    if "users" in run.about:
        lines.append(("users", [sample["users"] for sample in run.samples]))
    return [
        go.Scatter(x=times, y=y, name=label + name, mode="lines", line={"shape": "hv", "color": tone, "dash": dash})
        for (name, y), tone in zip(lines, cycle(COLOURS), strict=False)
    ]


def _figure(unit: str, lines: list[go.Scatter], end_s: float) -> go.Figure:
    figure = go.Figure([line for line in lines if len(line.x)])
    figure.update_layout(
        template="plotly_white",
        height=320,
        margin={"l": 60, "r": 10, "t": 40, "b": 45},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        xaxis={"title": "seconds from the start", "range": [0, end_s]},
        yaxis={"title": unit, "rangemode": "tozero"},
        hovermode="x unified",
        showlegend=True,
    )
    return figure


def _section(title: str, note: str, figure: go.Figure) -> str:
    plot = figure.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True})
    return f'<h2>{title}</h2><p class="note">{note}</p>{plot}'


def _table(name: str, run: Run) -> str:
    summary = summarize(run)
    rows = [HEADER, *(figure.row() for figure in summary.figures)]
    return (
        f'<h2>{escape(name)}</h2><div class="wide">{_html(rows)}</div>'
        f'<pre>{escape(chr(10).join(sentences(summary)))}</pre><p class="note">{escape(_signature(run))}</p>'
    )


def _ratios_html(runs: Sequence[Named]) -> str:
    rows = ratios(runs)
    if not rows:
        return ""
    names = [name for name, _ in runs]
    return f"<h2>{escape(' against '.join(names))}</h2>{_html([['', *names, 'ratio'], *rows])}"


def _html(rows: list[list[str]]) -> str:
    head, *body = rows
    cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in body]
    return f"<table><tr>{''.join(f'<th>{escape(c)}</th>' for c in head)}</tr><tr>{'</tr><tr>'.join(cells)}</tr></table>"


def _signature(run: Run) -> str:
    started = datetime.fromtimestamp(run.start, UTC).isoformat(" ", "seconds")
    return ", ".join([started, *(f"{key} {value}" for key, value in run.about.items() if key != "time")])


def _answered(results: Iterable[Result]) -> list[Result]:
    return [result for result in results if result.failure is None]


def _deferral(results: Iterable[Result]) -> float | None:
    decided = [r.deferred for r in results if r.failure is None and r.deferred is not None]
    return sum(decided) / len(decided) if decided else None
