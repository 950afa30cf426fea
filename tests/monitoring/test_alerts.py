"""Made-up histories through Prometheus' own rule engine: each alert fires where it should, and no other does."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.expressions import ALERTS, RULES

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus")

CASCADE = 'application="a", cascade="c"'
HEALTHY = {
    f'ray_cascade_requests_total{{{CASCADE}, outcome="accepted", model="m"}}': 60.0,
    f'ray_cascade_requests_total{{{CASCADE}, outcome="deferred", model="t"}}': 40.0,
    f'ray_cascade_requests_total{{{CASCADE}, outcome="cancelled", model=""}}': 50.0,
    f'ray_cascade_request_seconds_bucket{{{CASCADE}, phase="whole", le="5.0"}}': 100.0,
    f'ray_cascade_request_seconds_bucket{{{CASCADE}, phase="whole", le="50.0"}}': 100.0,
    f'ray_cascade_request_seconds_bucket{{{CASCADE}, phase="whole", le="+Inf"}}': 100.0,
    f'ray_cascade_model_calls_total{{{CASCADE}, model="m", role="member", status="ok"}}': 100.0,
    f'ray_cascade_model_calls_total{{{CASCADE}, model="m", role="member", status="cancelled"}}': 50.0,
    f'ray_cascade_model_calls_total{{{CASCADE}, model="t", role="target", status="ok"}}': 40.0,
    f'ray_cascade_decisions_total{{{CASCADE}, tier="0", accepted="true", reason="agreement"}}': 60.0,
    f'ray_cascade_decisions_total{{{CASCADE}, tier="0", accepted="false", reason="disagreement"}}': 40.0,
    f"ray_cascade_flops_total{{{CASCADE}}}": 50.0,
    f"ray_cascade_target_only_flops_total{{{CASCADE}}}": 100.0,
    f"ray_cascade_cost_usd_total{{{CASCADE}}}": 0.5,
    f"ray_cascade_target_only_cost_usd_total{{{CASCADE}}}": 1.0,
}
"""Counters, by how much they grow a minute."""
GAUGES = {
    f'ray_cascade_calibrated_deferral_rate{{{CASCADE}, bound="high"}}': 0.45,
    f'ray_cascade_calibrated_deferral_rate{{{CASCADE}, bound="low"}}': 0.3,
    'ray_cascade_user_config_refused{application="a"}': 0.0,
}

ACCEPTED, DEFERRED, _, FAST, *_ = HEALTHY
AGREED, DISAGREED = (name for name in HEALTHY if "decisions" in name)
FLOPS, _, USD, _ = (name for name in HEALTHY if "flops" in name or "usd" in name)
FAILED = f'ray_cascade_requests_total{{{CASCADE}, outcome="failed", model=""}}'
UNSCORED = f'ray_cascade_decisions_total{{{CASCADE}, tier="0", accepted="false", reason="scorer_failed"}}'
STOOD_IN = f'ray_cascade_decisions_total{{{CASCADE}, tier="0", accepted="true", reason="lexical_agreement"}}'
FORCED = f'ray_cascade_decisions_total{{{CASCADE}, tier="0", accepted="false", reason="forced"}}'
*_, REFUSED = GAUGES


def calls(model: str, status: str) -> str:
    role = {"m": "member", "t": "target"}[model]
    return f'ray_cascade_model_calls_total{{{CASCADE}, model="{model}", role="{role}", status="{status}"}}'


def target(ok: float, error: float) -> dict[str, float | None]:
    return {calls("t", "ok"): ok, calls("t", "error"): error}


CASES: dict[str, tuple[dict[str, float | None], set[str]]] = {
    "health": ({}, set()),
    "no traffic": (dict.fromkeys(HEALTHY, 0.0), set()),
    "no router": ({REFUSED: None}, {"CascadeRouterDown"}),
    "a member has no replica": ({calls("m", "unavailable"): 5}, {"CascadeNoReplica"}),
    "requests fail at a busy target": ({ACCEPTED: 0, DEFERRED: 100, FAILED: 8} | target(100, 8), {"CascadeErrors"}),
    "a target that is rarely asked fails": ({FAILED: 4, DEFERRED: 35} | target(35, 4), {"CascadeTargetFailing"}),
    "the target fails": (
        {FAILED: 30, DEFERRED: 10} | target(10, 30),
        {"CascadeErrors", "CascadeTargetFailing", "CascadeModelFailing"},
    ),
    "the target fails, and members answer instead": (target(10, 30), {"CascadeTargetFailing", "CascadeModelFailing"}),
    "a member fails": ({calls("m", "error"): 20, calls("m", "timeout"): 10}, {"CascadeModelFailing"}),
    "prompts are too long": ({calls("m", "context_length"): 90, calls("t", "context_length"): 90}, set()),
    "the scorer fails": ({UNSCORED: 2}, {"CascadeScorerFailing"}),
    "the scorer fails, and a signal stands in": ({STOOD_IN: 2}, {"CascadeScorerFailing"}),
    "slow": ({FAST: 80}, {"CascadeSlow"}),
    "too many deferrals": ({AGREED: 20, DISAGREED: 80}, {"CascadeDefersTooMuch"}),
    "too many, of too few to tell": ({AGREED: 0.1, DISAGREED: 0.4}, set()),
    "above the interval, within the hour's own error": ({AGREED: 0.5, DISAGREED: 0.5}, set()),
    "deferrals that clients forced": ({FORCED: 100}, set()),
    "too few deferrals": ({AGREED: 90, DISAGREED: 10}, {"CascadeDefersTooLittle"}),
    "dearer in FLOPs": ({FLOPS: 120}, {"CascadeCostsMoreThanTarget"}),
    "dearer in dollars": ({USD: 1.2}, {"CascadeCostsMoreThanTarget"}),
    "a single model that fails a little": ({FLOPS: 120, AGREED: None, DISAGREED: None}, set()),
    "user_config refused": ({REFUSED: 1}, {"CascadeUserConfigRefused"}),
}


def history(changes: dict[str, float | None]) -> list[dict[str, str]]:
    """Return 95 minutes of every series, a value a minute."""
    rows = []
    for name, value in (HEALTHY | GAUGES | changes).items():
        if value is not None:
            rows.append({"series": name, "values": f"{value}x95" if name in GAUGES else f"0+{value}x95"})
    return rows


def promtool(*arguments: str, folder: Path) -> None:
    result = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "rules.yaml").write_text(yaml.safe_dump(RULES))
    return folder


def test_promtool_takes_the_rules(folder: Path) -> None:
    promtool("check", "rules", "rules.yaml", folder=folder)


@pytest.mark.parametrize("case", CASES)
def test_what_fires(case: str, folder: Path) -> None:
    changes, expected = CASES[case]
    firing: dict[str, Any] = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": "90m",
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)],
    }
    test = {"interval": "1m", "input_series": history(changes), "promql_expr_test": [firing]}
    (folder / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test]}))
    promtool("test", "rules", "test.yaml", folder=folder)


def test_every_alert_fires_in_some_history() -> None:
    assert set().union(*(expected for _, expected in CASES.values())) == {alert["alert"] for alert in ALERTS}
