"""The metrics' names and labels, and that k8s/monitoring/README.md says the same."""

import re
from pathlib import Path

import pytest

from serve_app.deployments.observing.metrics import MODEL, REQUESTS, ROUTER, SCORER, Instruments, Metric

METRICS = (*ROUTER, *MODEL, *SCORER)
README = Path(__file__).parents[3] / "k8s" / "monitoring" / "README.md"
RESERVED = {"application", "deployment", "replica", "route", "le", "quantile"}


def test_every_name_stands_once() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) == 30


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_prometheus_conventions(metric: Metric) -> None:
    assert re.fullmatch("cascade_[a-z_]+[a-z]", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not re.search("_(count|sum|bucket|ms|milliseconds)$", metric.name)
    assert not RESERVED & set(metric.labels)
    assert (metric.kind == "histogram") == bool(metric.buckets)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.help.endswith(".")


def row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `ray_{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


def test_the_readme_has_the_table() -> None:
    table = "\n".join(map(row, METRICS))
    assert table in README.read_text(encoding="utf-8"), f"{README} needs this table:\n{table}"


def test_labels_are_given_in_full() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Instruments([REQUESTS]).record(REQUESTS, 1, "default")
