"""Every series and label in the dashboard and the rules exists in the registry of metrics, or is named here."""

import subprocess
import sys

import pytest

from serve_app.deployments.observing.metrics import MODEL, ROUTER, SCORER
from tests.monitoring.expressions import (
    ALERTS,
    ALL_RULES,
    FOLDER,
    RECORDED,
    grouping,
    left_side,
    names,
    panel_expressions,
    selectors,
)

EVERY = {"namespace", "application", "deployment", "replica"}
"""Labels that Ray, or the operator's scraping, gives to all series."""
LABELS: dict[str, set[str]] = {
    "ray_serve_deployment_queued_queries": set(),
    "ray_serve_replica_processing_queries": set(),
    "ray_serve_deployment_replica_healthy": set(),
}
for metric in (*ROUTER, *MODEL, *SCORER):
    parts = ("_bucket", "_count") if metric.kind == "histogram" else ("",)
    for part in parts:
        LABELS[f"ray_{metric.name}{part}"] = {*metric.labels, *({"le"} if part == "_bucket" else ())}
RECORDED_NAMES = {rule["record"] for rule in RECORDED}

EXPRESSIONS = panel_expressions() + [(rule.get("alert") or rule["record"], rule["expr"]) for rule in ALL_RULES]


def faults(expression: str) -> list[str]:
    """Return what does not exist. A histogram's `_sum`, which Ray only approximates, counts as missing."""
    series = names(expression)
    missing = [f"no series {name}" for name in sorted(series - LABELS.keys() - RECORDED_NAMES)]
    allowed_labels = EVERY.union(*(LABELS.get(name, set()) for name in series))
    for name, labels in selectors(expression):
        missing += [f"no label {label} on {name}" for label in sorted(labels - LABELS.get(name, set()) - EVERY)]
    for labels in grouping(expression):
        missing += [f"no label {label} to group by" for label in sorted(labels - allowed_labels)]
    return missing


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS, ids=[title for title, _ in EXPRESSIONS])
def test_names_and_labels_exist(title: str, expression: str) -> None:
    assert names(expression), title
    assert faults(expression) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(ray_cascade_request_total[5m])", "no series ray_cascade_request_total"),
        ("ray_cascade_request_seconds_sum", "no series ray_cascade_request_seconds_sum"),
        ("cascade:errors:rate5m > 1", "no series cascade:errors:rate5m"),
        ('ray_cascade_threshold{model="a"}', "no label model on ray_cascade_threshold"),
        ('ray_cascade_flops_total{cascade=~"a", kind!="b"}', "no label kind on ray_cascade_flops_total"),
        ("sum by (cascade, le) (ray_cascade_threshold)", "no label le to group by"),
    ],
)
def test_faults_are_found(expression: str, fault: str) -> None:
    assert faults(expression) == [fault]


def test_every_series_that_an_alert_reads_is_recorded_first() -> None:
    recorded: set[str] = set()
    for rule in ALL_RULES:
        assert {name for name in names(rule["expr"]) if name.startswith("cascade:")} <= recorded
        recorded |= {rule["record"]} if "record" in rule else set()


def test_every_metric_is_shown() -> None:
    shown = {name.removesuffix("_bucket") for _, expression in panel_expressions() for name in names(expression)}
    assert {f"ray_{metric.name}" for metric in (*ROUTER, *MODEL, *SCORER)} - shown == set()


def test_an_alert_has_a_runbook_entry() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    entries = [line.removeprefix("### ") for line in readme.splitlines() if line.startswith("### ")]
    assert entries == [alert["alert"] for alert in ALERTS]
    for alert in ALERTS:
        assert alert["annotations"]["runbook"] == f"k8s/monitoring/README.md#{alert['alert'].lower()}"
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert left_side(alert) != alert["expr"]


def test_the_committed_dashboard_is_what_the_generator_writes() -> None:
    code = "import sys, dashboard; sys.stdout.write(dashboard.text())"
    written = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER, check=True, capture_output=True, text=True
    ).stdout
    assert (FOLDER / "dashboard.json").read_text(encoding="utf-8") == written, "run python k8s/monitoring/dashboard.py"
