"""What the benchmark makes of what it measured, and the graphs that it deploys."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtests.asking import Answered
from loadtests.benches.bench_scaling import (
    FLEETS,
    costs_of,
    fleet_row,
    grouped,
    instant,
    percentile,
    predicted,
    simulated,
)
from serve_app.config.serve_file import load
from serve_app.planning.simulation import CpuCosts

_, FLEET_72B = FLEETS


def row(kind: str, concurrent: int, router_s: float, **seconds: float) -> dict[str, Any]:
    return {"kind": kind, "routers": 1, "concurrent": concurrent, "cpu_s": {"Router": router_s, **seconds}}


def test_costs_are_medians_under_load_and_a_deferred_request_is_one_more_call() -> None:
    rows = [row("accept", 1, 0.5), row("defer", 1, 0.5), row("accept", 8, 0.5) | {"routers": 2}]
    for router_s in (0.010, 0.011, 0.030):
        rows.append(row("accept", 8, router_s, ProxyActor=0.004, Scorer=0.001))
        rows.append(row("defer", 8, router_s + 0.002, ProxyActor=0.004, Scorer=0.001))
    # 11 ms are 5 and 2 for each of two members and the scorer.
    assert costs_of(rows) == CpuCosts(proxy_s=0.004, router_s=0.005, router_call_s=0.002, scorer_s=0.001)


def test_models_are_what_is_left() -> None:
    spent = {"Router": 0.01, "Scorer": 0.002, "ProxyActor": 0.004, "ServeController": 9.0, "a": 0.001, "b": 0.002}
    assert grouped(spent) == pytest.approx({"Router": 0.01, "ProxyActor": 0.004, "Scorer": 0.002, "models": 0.003})


@pytest.mark.parametrize("build", [lambda: instant(4), *(partial(simulated, 0.25, config) for config in FLEETS)])
def test_the_graphs_are_valid(build: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(build()))
    options = load(path).application.deployments_in_force()
    assert all(option.autoscaling_config is None for option in options.values())


def test_the_cascade_is_held_against_the_target() -> None:
    target = Answered(accepted_s=[2.0, 2.0], flops=20.0, duration_s=1)
    cascade = Answered(accepted_s=[1.0], deferred_s=[4.0], flops=8.0, duration_s=1)
    assert fleet_row("default", cascade, target, "x")[1:7] == [
        "50% of 2",
        "2.50",
        "1.25",
        "1.00, 4.00, 4.00",
        "4.00, 4.00, 4.00",
        "0.40",
    ]
    assert fleet_row("qwen2.5-7b", target, target, "x")[3] == "1.00"
    assert [percentile([3.0, 1.0, 2.0], percent) for percent in (1, 50, 99)] == [1.0, 2.0, 3.0]


def test_the_prediction_knows_the_target_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(simulated(0.5)))
    free = CpuCosts(1e-6, 1e-6, 0, 1e-6)
    # 128 steps of 11.87 ms and 256 prompt tokens of 0.131 ms are 1.55 s; the larger member 0.71 s before that.
    assert predicted(load(path), "qwen2.5-7b", 0.001, 0.5, free) == "1.55, 1.55"
    assert predicted(load(path), "default", 0.001, 1.0, free) == "2.26, 2.26"
    path.write_text(yaml.safe_dump(simulated(0.5, FLEET_72B)))
    # 128 steps of 31.873 ms and 256 prompt tokens of 0.313 ms are 4.16 s; 3B's 128 of 7.839 and 256 of 0.0532 are 1.02.
    assert predicted(load(path), "qwen2.5-72b", 0.001, 0.5, free) == "4.16, 4.16"
    assert predicted(load(path), "default", 0.001, 1.0, free) == "5.18, 5.18"


def test_the_72b_fleet_spends_the_papers_share_at_the_rate_that_it_is_shown_at() -> None:
    models = load(FLEET_72B).application.args.models
    member_share = (
        sum(models[name].parameters for name in ("qwen2.5-3b", "qwen2.5-1.5b")) / models["qwen2.5-72b"].parameters
    )
    assert round(member_share + 0.35, 2) == 0.41
