"""The curves that the page shows at first, as PNGs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.evaluate.report.headings import image_name, pairs, title
from serve_app.evaluation.evaluate.report.lines import Line, lines
from serve_app.evaluation.evaluate.results import CascadeResult, Curves, Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOTTED_UNITS: tuple[Unit, ...] = ("flops", "usd", "device_s")
"""Units of cost by preference; the first known one is plotted, beside the deferral rate."""


def write_images(evaluation: Evaluation, folder: Path) -> Iterator[Path]:
    """Write the curves that the page shows at first, against the deferral rate and the first known cost."""
    for group, cascade in pairs(evaluation):
        if cascade.curves is None:
            continue
        figure = _figure(cascade, cascade.curves)
        figure.suptitle(title(group, cascade))
        path = folder / image_name(group, cascade)
        figure.savefig(path, dpi=120)
        yield path


def _figure(cascade: CascadeResult, curves: Curves) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    initial_lines = [line for line in lines(curves) if line.shown]
    unit = next((unit for unit in PLOTTED_UNITS if any(unit in line.points.costs for line in initial_lines)), None)
    figure = Figure(figsize=(12.8 if unit else 6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if unit else 1, squeeze=False)[0]
    _draw(axes[0], [(line, line.points.rate) for line in initial_lines], "deferral rate", cascade, curves)
    axes[0].legend(fontsize=7)
    if unit:
        cost_lines = [(line, costs) for line in initial_lines if (costs := line.points.costs.get(unit)) is not None]
        _draw(axes[1], cost_lines, f"cost in {unit} / target's", cascade, curves)
    return figure


def _draw(
    axes: "Axes", lines: Sequence[tuple[Line, Sequence[float]]], name: str, cascade: CascadeResult, curves: Curves
) -> None:
    for line, x in lines:
        style = "--" if line.dashed else "-"
        [curve] = axes.plot(x, line.points.quality, style, label=f"{line.label} ({line.area:.4f})")
        axes.fill_between(x, line.points.quality_low, line.points.quality_high, color=curve.get_color(), alpha=0.08)
    axes.axhline(curves.baselines.target.estimate, color="grey", linestyle=":", label="always the target")
    axes.set(xlabel=name, ylabel=cascade.metric)
    axes.grid(alpha=0.3)
