"""Writes dashboard.json, the Grafana dashboard: `python k8s/monitoring/dashboard.py`."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).with_name("dashboard.json")
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
APP = 'namespace=~"$namespace", application=~"$application"'
SCOPE = f'{APP}, cascade=~"$cascade"'


@dataclass(frozen=True)
class Panel:
    """`series` are pairs of a PromQL expression and its legend."""

    title: str
    series: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    about: str = ""
    width: int = 8
    options: dict[str, Any] = field(default_factory=dict)


def rates(by: str, metric: str, where: str = "", scope: str = SCOPE) -> str:
    """Return the rates of a counter or of a histogram's buckets, summed by some labels; `where` narrows further."""
    return f"sum by ({by}) (rate(ray_cascade_{metric}{{{scope}{where}}}[$__rate_interval]))"


def quantiles(metric: str, by: str, unit: str = "s", where: str = "", scope: str = SCOPE) -> dict[str, Any]:
    """Return the p50, p95 and p99 of a histogram, as keyword arguments of a panel."""
    buckets = rates(f"{by}, le", f"{metric}_bucket", where, scope)
    levels = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    return {
        "series": tuple((f"histogram_quantile({q}, {buckets})", f"{{{{{by}}}}} {p}") for q, p in levels),
        "unit": unit,
    }


def phase(name: str, title: str) -> Panel:
    """Build the panel of one phase's quantiles."""
    return Panel(title, **quantiles("request_seconds", "cascade", where=f', phase="{name}"'))


def share(part: str, whole: str) -> str:
    """Return the query for part of whole, 0 if the part was never counted."""
    return f"({part} or 0 * {whole}) / {whole}"


def saving(unit: str) -> str:
    """Return the query for 1 - spent / the target's cost alone, by cascade, over the dashboard's range."""
    spent, alone = (
        f"sum by (cascade) (increase(ray_cascade_{name}_total{{{SCOPE}}}[$__range]))"
        for name in (unit, f"target_only_{unit}")
    )
    return f"1 - {spent} / {alone}"


def ratio(unit: str) -> str:
    """Return the query for spent / the target's cost alone, by cascade, over time."""
    return f"{rates('cascade', f'{unit}_total')} / {rates('cascade', f'target_only_{unit}_total')}"


def calibrated(bound: str) -> str:
    """Return the query of the calibrated deferral rate, or of a bound of its interval."""
    return f'max by (cascade) (ray_cascade_calibrated_deferral_rate{{{SCOPE}, bound="{bound}"}})'


UNFORCED = ', tier="0", reason!="forced"'
DECIDED = rates("cascade", "decisions_total", UNFORCED)
DEFERRAL = share(rates("cascade", "decisions_total", UNFORCED + ', accepted="false"'), DECIDED)
ENDED = rates("cascade", "requests_total", ', outcome!="cancelled"')
FAILED = share(rates("cascade", "requests_total", ', outcome="failed"'), ENDED)
UNRETURNED = share(rates("cascade", "tokens_total", ', use!="returned"'), rates("cascade", "tokens_total"))
THRESHOLDS = f"max by (cascade, tier) (ray_cascade_threshold{{{SCOPE}}})"
SHEDDING = f"max by (cascade) (ray_cascade_shedding{{{SCOPE}}})"
AGREEMENT = rates("cascade, tier, signal, le", "agreement_bucket")
STACKED = {"custom": {"stacking": {"mode": "normal"}, "fillOpacity": 30}}

ROWS: dict[str, tuple[Panel, ...]] = {
    "Quality: agreement": (
        Panel(
            "Agreement, median and lowest tenth",
            (
                (f"histogram_quantile(0.5, {AGREEMENT})", "{{cascade}} {{tier}} {{signal}} p50"),
                (f"histogram_quantile(0.1, {AGREEMENT})", "{{cascade}} {{tier}} {{signal}} p10"),
            ),
            about="Falls when prompts get harder or a member gets worse. Exact to a bucket (0.05).",
        ),
        Panel(
            "Agreement, distribution",
            ((f"sum by (le) (increase(ray_cascade_agreement_bucket{{{SCOPE}}}[$__rate_interval]))", "{{le}}"),),
            kind="heatmap",
            about="Of all chosen cascades; choose one to see a single signal.",
        ),
        Panel(
            "Answers by model",
            ((rates("model", "requests_total", ', model!=""'), "{{model}}"),),
            unit="reqps",
            options=STACKED,
        ),
    ),
    "Cost and savings": (
        Panel(
            "Saved against the target alone",
            (
                (saving("flops"), "{{cascade}} FLOPs"),
                (saving("cost_usd"), "{{cascade}} US dollars"),
                (saving("device_seconds"), "{{cascade}} device-seconds"),
            ),
            unit="percentunit",
            kind="stat",
            about="Over the chosen time. Failed and cancelled requests count as spent. Below 0 the cascade costs more.",
        ),
        Panel(
            "Spent over the target alone",
            (
                (ratio("flops"), "{{cascade}} FLOPs"),
                (ratio("cost_usd"), "{{cascade}} US dollars"),
                (ratio("device_seconds"), "{{cascade}} device-seconds"),
            ),
            unit="percentunit",
        ),
        Panel(
            "Price of deciding: tokens not returned",
            ((UNRETURNED, "{{cascade}}"),),
            unit="percentunit",
            about="Share of tokens in answers that were unused, failed, cancelled or wasted.",
        ),
        Panel(
            "Requests of cascades with a cache",
            ((rates("result", "cache_requests_total"), "{{result}}"),),
            unit="reqps",
            about="hit and shared ask no model; uncacheable: sampling not at temperature 0, or asked not to.",
            options=STACKED,
        ),
        Panel(
            "Requests whose like was looked up",
            ((rates("result", "prechecks_total"), "{{result}}"),),
            unit="reqps",
            about="deferred and accepted skip the decision; failed: no look-up in time, so the cascade ran.",
            options=STACKED,
        ),
        Panel(
            "Requests decided under pressure (shed)",
            (
                (rates("cascade, by", "shed_requests_total"), "{{cascade}} by {{by}}"),
                (SHEDDING, "{{cascade}} sheds (1) or not (0)"),
            ),
            unit="short",
            about="Requests a second that were decided by lower thresholds, or by members alone.",
        ),
        Panel("FLOPs by model", ((rates("model", "flops_total"), "{{model}}"),), "flops", options=STACKED),
        Panel(
            "US dollars an hour by model",
            ((f"3600 * {rates('model', 'cost_usd_total')}", "{{model}}"),),
            "currencyUSD",
            options=STACKED,
        ),
        Panel(
            "Devices held by model",
            ((rates("model", "device_seconds_total"), "{{model}}"),),
            about="Device-seconds a second, an upper bound.",
            options=STACKED,
        ),
        Panel(
            "Tokens by use",
            ((rates("kind, use", "tokens_total"), "{{kind}} {{use}}"),),
            about="Tokens a second.",
            options=STACKED,
        ),
    ),
    "Latency by phase": (
        phase("whole", "Whole request"),
        phase("first_text", "First text of a stream"),
        phase("members", "Waiting for members"),
        phase("scoring", "Scoring"),
        phase("target", "Target"),
        Panel("Whole answers of models", **quantiles("model_seconds", "model", scope=APP)),
        Panel("First token of models", **quantiles("model_first_token_seconds", "model", scope=APP)),
    ),
    "Deferral": (
        Panel(
            "Deferral rate of the first tier, and what calibration found",
            (
                (DEFERRAL, "{{cascade}}"),
                (calibrated("expected"), "{{cascade}} expected"),
                (calibrated("low"), "{{cascade}} low"),
                (calibrated("high"), "{{cascade}} high"),
            ),
            unit="percentunit",
            about="Without requests whose client forced the outcome.",
        ),
        Panel(
            "Decisions by reason",
            ((rates("accepted, reason", "decisions_total"), "{{reason}} (accepted: {{accepted}})"),),
            unit="reqps",
            options=STACKED,
        ),
        Panel(
            "Deferred by tier",
            (
                (
                    rates("cascade, tier", "decisions_total", ', accepted="false"'),
                    "{{cascade}} {{tier}}",
                ),
            ),
            unit="reqps",
        ),
    ),
    "Health": (
        Panel(
            "Requests by outcome",
            ((rates("outcome", "requests_total"), "{{outcome}}"),),
            unit="reqps",
            options=STACKED,
        ),
        Panel("Failed requests", ((FAILED, "{{cascade}}"),), unit="percentunit"),
        Panel(
            "Failures by model and kind",
            (
                (
                    rates("model, role, status", "model_calls_total", ', status!="ok"'),
                    "{{model}} ({{role}}) {{status}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            "Waiting for a replica",
            ((f"sum by (deployment) (ray_serve_deployment_queued_queries{{{APP}}})", "{{deployment}}"),),
            about="Ray Serve's own count, by deployment.",
        ),
        Panel(
            "In replicas, in engines, and before the scorer",
            (
                (f"sum by (deployment) (ray_serve_replica_processing_queries{{{APP}}})", "{{deployment}}"),
                (f"sum by (deployment) (ray_cascade_engine_active_requests{{{APP}}})", "{{deployment}} engine"),
                (f"sum by (signal) (ray_cascade_scorer_waiting_requests{{{APP}}})", "waiting for {{signal}}"),
            ),
        ),
        Panel(
            "Healthy replicas",
            ((f"sum by (deployment) (ray_serve_deployment_replica_healthy{{{APP}}})", "{{deployment}}"),),
            about="0 is normal for a deployment that scales to zero.",
        ),
        Panel(
            "Refused at once, because a model was full",
            ((f"sum by (model) (rate(ray_cascade_rejected_requests_total{{{APP}}}[$__rate_interval]))", "{{model}}"),),
            unit="reqps",
        ),
        Panel(
            "Requests by API key",
            (
                (
                    f"sum by (key, result) (rate(ray_cascade_key_requests_total{{{APP}}}[$__rate_interval]))",
                    "{{key}} {{result}}",
                ),
            ),
            unit="reqps",
            about="passed, or refused since requests, tokens or usd are used up; without a valid key: unauthorized.",
        ),
        Panel(
            "Tokens and US dollars a minute by API key",
            (
                (
                    f"sum by (key) (rate(ray_cascade_key_tokens_total{{{APP}}}[$__rate_interval])) * 60",
                    "{{key}} tokens",
                ),
                (f"sum by (key) (rate(ray_cascade_key_cost_usd_total{{{APP}}}[$__rate_interval])) * 60", "{{key}} USD"),
            ),
        ),
        Panel(
            "Left out after failures",
            ((f"max by (target) (ray_cascade_left_out{{{APP}}})", "{{target}}"),),
            about="1 while a circuit breaker is open.",
        ),
        Panel("Scorer: time of a batch", **quantiles("scorer_batch_seconds", "signal", scope=APP)),
        Panel("Scorer: texts in a batch", **quantiles("scorer_batch_texts", "signal", "short", scope=APP)),
        Panel(
            "Last user_config refused",
            ((f"max by (application) (ray_cascade_user_config_refused{{{APP}}})", "{{application}}"),),
            kind="stat",
            about="1 while the last change of thresholds is refused.",
        ),
    ),
    "Thresholds and drift": (
        Panel("Thresholds in force", ((THRESHOLDS, "{{cascade}} tier {{tier}}"),), width=12),
        Panel(
            "Drift: deferral outside the calibrated interval",
            (
                (f"{DEFERRAL} - {calibrated('high')}", "{{cascade}} above high"),
                (f"{calibrated('low')} - {DEFERRAL}", "{{cascade}} below low"),
            ),
            unit="percentunit",
            width=12,
            about="Above 0 the rate is outside. The alerts ask for three standard errors over an hour.",
        ),
    ),
}


def panel(spec: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    """Return one panel as Grafana's JSON."""
    heatmap = spec.kind == "heatmap"
    targets = [
        {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
        | ({"format": "heatmap"} if heatmap else {})
        for i, (expr, legend) in enumerate(spec.series)
    ]
    return {
        "id": number,
        "type": spec.kind,
        "title": spec.title,
        "description": spec.about,
        "datasource": SOURCE,
        "gridPos": {"h": 8, "w": spec.width, "x": x, "y": y},
        "fieldConfig": {"defaults": {"unit": spec.unit} | spec.options, "overrides": []},
        "options": {"calculate": False} if heatmap else {},
        "targets": targets,
    }


def layout() -> list[dict[str, Any]]:
    """Return the panels of all rows, one below the other, each filled from the left."""
    entries: list[dict[str, Any]] = []
    y = 0
    for title, panels in ROWS.items():
        position = {"h": 1, "w": 24, "x": 0, "y": y}
        entries.append(
            {
                "id": len(entries) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": position,
                "panels": [],
            }
        )
        x, y = 0, y + 1
        for spec in panels:
            if x + spec.width > 24:
                x, y = 0, y + 8
            entries.append(panel(spec, len(entries) + 1, x, y))
            x += spec.width
        y += 8
    return entries


def variable(label: str) -> dict[str, Any]:
    """Build the choice of a label's values. `.*` also finds series without the label."""
    return {
        "name": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": f"label_values(ray_cascade_requests_total, {label})", "refId": label},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard() -> dict[str, Any]:
    """Build the dashboard that Grafana imports."""
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": "semantic-cascade",
        "title": "Semantic cascade",
        "tags": ["semantic-cascade", "ray"],
        "schemaVersion": 38,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source, *map(variable, ("namespace", "application", "cascade"))]},
        "panels": layout(),
    }


def text() -> str:
    """Return the file's text as it should be."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(text(), encoding="utf-8")
