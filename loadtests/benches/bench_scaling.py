"""How cost grows with load and router replicas on real Ray Serve, compared with the simulation of `cascade plan --rps`.

    make bench-scaling        (or: python -m loadtests.benches.bench_scaling --seconds 20 --rate 5)

First the graph of configs/fleet-sim.yaml with models that answer at once, so that only our own work remains: router
replicas 1, 2 and 4, requests in flight up to saturation, all accepted and all deferred. The router asks the scorer even
for short answers, so that it is measured, too. Throughput, CPU of each process
a request, requests a scorer batch, memory; from these the line `MEASURED` of the capacity plan. Where proxy, router,
scorer, models and this client share a few cores, the CPU a request tells more than the throughput.

Then two fleets with their GPUs' time, with a target of 7B and one of 72B on four GPUs (configs/fleet-sim-72b.yaml): the
cascade at several deferral rates, and always the target, each with the same arrivals on the same Serve settings;
latencies, FLOPs, and what the simulation says of it. `--routers` without a number leaves the first part out.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_LOG_TO_STDERR": "0"}
os.environ |= {"RAY_metrics_report_interval_ms": "1000"}

import httpx
import psutil
import ray
import yaml
from rich.console import Console
from rich.table import Table

from loadtests.asking import Answered, at_once, at_random
from loadtests.ports import free_port
from loadtests.processes import cpu_s, usages
from serve_app.config.serve_file import ServeFile, load
from serve_app.core.percentiles import nearest_rank
from serve_app.deployments.local.cluster import Cluster, local_cluster
from serve_app.deployments.local.deploy import submit, wait_until_running
from serve_app.deployments.local.warm_up import warm_up
from serve_app.planning.capacity import MEASURED, assume, capacity
from serve_app.planning.simulation import CpuCosts, Load, TierCalls, simulate

CONFIG = Path(__file__).parents[2] / "configs" / "fleet-sim.yaml"
FLEETS = {CONFIG: (0.4, 0.6), CONFIG.with_name("fleet-sim-72b.yaml"): (0.2, 0.35, 0.6)}
"""Deferral rates: the paper's cascades reach a 7B target at about 0.6 (figure 3); 0.35 is 41% of the FLOPs of 72B."""
MEMBERS = 2
KINDS = ("accept", "defer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--concurrent", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement of the first part")
    parser.add_argument("--fleet-seconds", type=float, default=60, help="of arrivals at the simulated fleet")
    parser.add_argument("--rate", type=float, default=5, help="requests a second to the simulated fleet")
    stems = [config.stem for config in FLEETS]
    parser.add_argument("--fleets", nargs="+", choices=stems, default=stems, help="those of the second part")
    options = parser.parse_args()
    console = Console(width=150)
    load_average = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, local_cluster() as cluster:
        path = Path(folder) / "config.yaml"
        rows = []
        for routers in options.routers:
            file = deploy(instant(routers), path, cluster)
            rows += saturate(file.url, routers, options.concurrent, options.seconds)
        costs = MEASURED
        if rows:
            console.print(scaling_table(rows))
            costs = costs_of(rows)
            console.print(f"MEASURED = {costs}")
        arrivals = options.rate, options.fleet_seconds
        for config, deferral_rates in FLEETS.items():
            if config.stem in options.fleets:
                console.print(fleet_table(config, deferral_rates, arrivals, costs, path, cluster))
    console.print(
        f"{psutil.cpu_count()} cores, load average {load_average:.1f} before and {os.getloadavg()[0]:.1f} after "
        f"(client and server included); Ray {ray.__version__}; {options.seconds:g} and {options.fleet_seconds:g} s."
    )


def instant(routers: int) -> dict[str, Any]:
    """Return the graph with models that need no time, and this number of routers."""
    values = load(CONFIG).raw()
    args = values["applications"][0]["args"]
    del values["applications"][0]["autoscaling_policy"]
    for model in args["models"].values():
        del model["batching"]
        model["deployment"] = {"max_ongoing_requests": 1000}
    args["router"] = {"deployment": {"num_replicas": routers, "max_ongoing_requests": 1000}}
    args["scorer"] = {"deployment": {"max_ongoing_requests": 1000}, "inline_characters": 0}
    return values


def simulated(deferral_rate: float, config: Path = CONFIG) -> dict[str, Any]:
    """Return the fleet with one replica per model, so that it does not scale while it is measured."""
    values = load(config).raw()
    del values["applications"][0]["autoscaling_policy"]
    for model in values["applications"][0]["args"]["models"].values():
        model["deployment"] = {"max_ongoing_requests": 96}
        model["synthetic"]["agreement"] = round(1 - deferral_rate, 6)
    return values


def deploy(values: dict[str, Any], path: Path, cluster: Cluster) -> ServeFile:
    port = load(path).http_options.port if path.exists() else free_port()
    path.write_text(yaml.safe_dump(values | {"http_options": {"host": "127.0.0.1", "port": port}}))
    file = load(path)
    submit(path, cluster)
    wait_until_running(file, cluster, lambda _: None)
    warm_up(file)
    return file


def saturate(url: str, routers: int, concurrencies: list[int], seconds: float) -> list[dict[str, Any]]:
    rows = []
    asyncio.run(at_once(url, "default", {"force": "defer"}, 16, seconds / 4))
    for concurrent in concurrencies:
        for kind in KINDS:
            before, batches = cpu_s(usages()), scorer_batches()
            results = asyncio.run(at_once(url, "default", {"force": kind}, concurrent, seconds))
            now = usages()
            time.sleep(2)  # Ray hands its metrics on once a second
            answer_count, after = len(results.latencies_s), scorer_batches()
            spent = {role: (used - before[role]) / answer_count for role, used in cpu_s(now).items() if role in before}
            memory = {role: max(usage.rss_mb for usage in now if usage.role == role) for role in spent}
            rows.append(
                {
                    "routers": routers,
                    "concurrent": concurrent,
                    "kind": kind,
                    "results": results,
                    "cpu_s": spent,
                    "batch": answer_count / (after - batches) if after > batches else float("nan"),
                    "rss_mb": memory,
                }
            )
            print(f"{routers} routers, {concurrent} at once, {kind}: {results.rps:.1f}/s", file=sys.stderr)
    return rows


def scorer_batches() -> float:
    """Return the number of batches scored so far, by the scorer's own counter."""
    (node,) = ray.nodes()
    metrics = httpx.get(
        f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", trust_env=False
    ).text
    counts = [line for line in metrics.splitlines() if line.startswith("ray_cascade_scorer_batch_texts_count")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counts)


def scaling_table(rows: list[dict[str, Any]]) -> Table:
    table = Table("routers", "at once", "requests", "requests/s", "p50, p99 ms", "errors", title="Models without time")
    for name in ("router", "proxy", "scorer", "models"):
        table.add_column(f"CPU ms, {name}", justify="right")
    table.add_column("requests a batch", justify="right")
    table.add_column("MB router, scorer, proxy")
    for row in rows:
        results, spent = row["results"], grouped(row["cpu_s"])
        table.add_row(
            str(row["routers"]),
            str(row["concurrent"]),
            f"{row['kind']}ed" if row["kind"] == "accept" else "deferred",
            f"{results.rps:.1f}",
            f"{1000 * percentile(results.latencies_s, 50):.0f}, {1000 * percentile(results.latencies_s, 99):.0f}",
            str(sum(results.errors.values())),
            *(f"{1000 * spent[name]:.2f}" for name in ("Router", "ProxyActor", "Scorer", "models")),
            f"{row['batch']:.2f}",
            ", ".join(f"{row['rss_mb'].get(role, float('nan')):.0f}" for role in ("Router", "Scorer", "ProxyActor")),
        )
    return table


def grouped(spent: dict[str, float]) -> dict[str, float]:
    """Return the CPU seconds per request of router, proxy and scorer, and of all models together."""
    ours = {role: spent.get(role, 0.0) for role in ("Router", "ProxyActor", "Scorer")}
    return ours | {"models": sum(spent.values()) - sum(ours.values()) - spent.get("ServeController", 0.0)}


def costs_of(rows: list[dict[str, Any]]) -> CpuCosts:
    """Return medians with more than one request at once; a deferred request is one more call.

    Of the fewest routers: what further replicas spend when idle is no cost of a request.
    """
    fewest = min(row["routers"] for row in rows)
    few = [row for row in rows if row["routers"] == fewest]
    busy = [row for row in few if row["concurrent"] > 1] or few
    router = {kind: statistics.median(row["cpu_s"]["Router"] for row in busy if row["kind"] == kind) for kind in KINDS}
    call_s = max(0.0, router["defer"] - router["accept"])
    of = {role: statistics.median(row["cpu_s"].get(role, 0.0) for row in busy) for role in ("ProxyActor", "Scorer")}
    return CpuCosts(
        proxy_s=round(of["ProxyActor"], 5),
        router_s=round(max(0.0, router["accept"] - (MEMBERS + 1) * call_s), 5),
        router_call_s=round(call_s, 5),
        scorer_s=round(of["Scorer"], 5),
    )


def fleet_table(
    config: Path,
    deferral_rates: Iterable[float],
    arrivals: tuple[float, float],
    costs: CpuCosts,
    path: Path,
    cluster: Cluster,
) -> Table:
    """Measure a fleet's target alone, then its cascade at each rate. `arrivals` are requests per second and seconds."""
    table = Table(
        "graph", "deferred", "mean s", "ratio", "p50, p95, p99 s", "of the deferred", "FLOPs, ratio", "errors"
    )
    table.add_column("simulated mean, p99 s")
    rate, seconds = arrivals
    table.title = f"{config.stem} at {rate:g} requests a second, the same arrivals for all"
    target: Answered | None = None
    for deferral_rate in deferral_rates:
        file = deploy(simulated(deferral_rate, config), path, cluster)
        alone = file.application.args.cascades["default"].tiers[-1].models
        for model in [*(alone if target is None else []), "default"]:
            results = asyncio.run(at_random(file.url, model, {}, rate, seconds, seed=1))
            target = target or results
            print(f"{config.stem}: {model}, {deferral_rate:.0%} deferred: {results.rps:.1f}/s", file=sys.stderr)
            table.add_row(*fleet_row(model, results, target, predicted(file, model, rate, deferral_rate, costs)))
    return table


def predicted(file: ServeFile, model: str, rate: float, deferral_rate: float, costs: CpuCosts) -> str:
    args = file.application.args
    options = file.application.deployments_in_force()
    cascade = capacity(args, options, assume(args, "default", rate, deferral_rate), costs=costs).fleet
    fleet = cascade if model == "default" else replace(cascade, tiers=(TierCalls((model,)),), deferral_rates=())
    simulation = simulate(fleet, Load(rate, requests=5000))
    return f"{simulation.mean_s():.2f}, {simulation.percentile_s(99):.2f}"


def fleet_row(model: str, results: Answered, target: Answered, simulated: str) -> list[str]:
    every, deferred = results.latencies_s, results.deferred_s
    cascade = model == "default"
    return [
        "cascade" if cascade else f"always {model}",
        f"{len(deferred) / len(every):.0%} of {len(every)}" if cascade else f"of {len(every)}",
        f"{statistics.fmean(every):.2f}",
        f"{statistics.fmean(every) / statistics.fmean(target.latencies_s):.2f}",
        ", ".join(f"{percentile(every, p):.2f}" for p in (50, 95, 99)),
        ", ".join(f"{percentile(deferred, p):.2f}" for p in (50, 95, 99)) if cascade else "",
        f"{(results.flops / len(every)) / (target.flops / len(target.latencies_s)):.2f}",
        str(sum(results.errors.values())),
        simulated,
    ]


def percentile(values: list[float], percent: float) -> float:
    """Return the nearest-rank percentile, NaN without values."""
    value = nearest_rank(values, percent)
    return float("nan") if value is None else value


if __name__ == "__main__":
    main()
