"""The panels' data on one picture: `python -m tests.monitoring.plot k8s/monitoring/panels.png` (three minutes)."""

import sys
import tempfile
import time
from pathlib import Path

import matplotlib as mpl

import tests.conftest  # noqa: F401 - Ray's environment, before Ray is imported
from tests.monitoring.expressions import DASHBOARD, panel_expressions
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.scraped import round_of_requests, scraped_server

ASKED_FOR_S = 120
COLUMNS = 5


def lines(monitor: Prometheus, start: float, end: float) -> dict[str, list[tuple[list[float], list[float]]]]:
    """Return the points of every series by panel: seconds since the start, and values."""
    curves: dict[str, list[tuple[list[float], list[float]]]] = {}
    for name, expression in panel_expressions("30s"):
        data = monitor.get("query_range", query=expression, start=str(start), end=str(end), step="2")
        for series in data["result"]:
            points = [(float(at) - start, float(value)) for at, value in series["values"]]
            curves.setdefault(name[:-2], []).append(([x for x, _ in points], [y for _, y in points]))
    return curves


def main(path: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot

    with tempfile.TemporaryDirectory() as folder, scraped_server(Path(folder)) as (served, monitor):
        start = time.time()
        while time.time() < start + ASKED_FOR_S:
            round_of_requests(served)
        curves = lines(monitor, start, time.time())
    titles = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    rows = -(-len(titles) // COLUMNS)
    figure, axes = pyplot.subplots(rows, COLUMNS, figsize=(4 * COLUMNS, 2.2 * rows), layout="constrained")
    for axis, title in zip(axes.flat, titles, strict=False):
        axis.set_title(title, fontsize=8)
        axis.tick_params(labelsize=7)
        for x, y in curves.get(title, []):
            axis.plot(x, y, linewidth=1)
    for axis in axes.flat[len(titles) :]:
        axis.remove()
    figure.savefig(path, dpi=60)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
