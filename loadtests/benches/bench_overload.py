"""Goodput against offered load, up to three times what the models can do, on real Ray Serve.

    make bench-overload        (or: python -m loadtests.benches.bench_overload --seconds 30 --plot overload.png)

Scripted models with few slots and fixed times, so that saturation is known: two members of 4 slots, and a target of 4
slots that half of the requests are deferred to. Arrivals are random (Poisson) and do not wait for answers. For each
load: what was answered in time a second (goodput), what got a 429 at once, and latencies of what was answered; in the
end the first load once more, to see whether it recovers. With `--max-waiting 1000000` nothing is refused.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_LOG_TO_STDERR": "0"}

import psutil
import ray
from rich.console import Console
from rich.table import Table

from loadtests.asking import Answered, at_random
from loadtests.benches.bench_scaling import deploy
from serve_app.deployments.local.cluster import local_cluster

SLOTS, DEFERRED = 4, 0.5
TARGET_S = 0.8 + 47 * 0.004
SATURATION_RPS = SLOTS / TARGET_S / DEFERRED
"""Requests a second at which the target, the scarcest model, is always busy."""
IN_TIME_S = 5.0


def config(max_waiting: float) -> dict[str, Any]:
    """Return the graph: the target is saturated at 8 requests a second, the members at 13."""
    member = {"engine": "replay", "parameters": 5e8, "slots": SLOTS, "first_token_s": 0.25, "token_s": 0.002}
    models = {
        name: member | {"synthetic": {"agreement": 1 - DEFERRED, "variant": name, "completion_tokens": 24}}
        for name in ("a", "b")
    }
    models["target"] = member | {
        "parameters": 7e9,
        "first_token_s": 0.8,
        "token_s": 0.004,
        "synthetic": {"agreement": 1 - DEFERRED, "variant": "target", "completion_tokens": 48},
    }
    tiers = [{"models": ["a", "b"], "signal": "rougeL", "threshold": 0.5}, {"models": ["target"]}]
    args = {"models": models, "cascades": {"default": {"tiers": tiers}}, "router": {"max_waiting": max_waiting}}
    application = {"name": "cascade", "route_prefix": "/", "import_path": "serve_app.app:build_app", "args": args}
    return {"applications": [application], "logging_config": {"enable_access_log": False}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30, help="of arrivals at each load")
    parser.add_argument("--loads", type=float, nargs="+", default=[0.5, 0.8, 1, 1.5, 2, 3, 0.5], help="of saturation")
    parser.add_argument("--max-waiting", type=float, default=2, help="router.max_waiting")
    parser.add_argument("--plot", type=Path, help="write a PNG")
    options = parser.parse_args()
    console, load_average = Console(width=120), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, local_cluster() as cluster:
        file = deploy(config(options.max_waiting), Path(folder) / "config.yaml", cluster)
        rows = []
        for seed, share in enumerate(options.loads):
            with console.status(f"{share:g} of saturation"):
                results = asyncio.run(at_random(file.url, "default", {}, share * SATURATION_RPS, options.seconds, seed))
            rows.append((share, results))
    console.print(table(rows))
    console.print(
        f"Saturation is {SATURATION_RPS:.1f} requests a second; in time is within {IN_TIME_S:g} s. "
        f"router.max_waiting {options.max_waiting:g}, {psutil.cpu_count()} cores, load average {load_average:.1f} "
        f"before, Ray {ray.__version__}."
    )
    if options.plot:
        plot(rows, options.plot)


def goodput(results: Answered) -> float:
    """Return the answers a second that came in time."""
    return sum(seconds <= IN_TIME_S for seconds in results.latencies_s) / results.duration_s


def table(rows: list[tuple[float, Answered]]) -> Table:
    result = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("of saturation", "offered/s", "goodput/s", "429/s", "other errors", "p50 s", "p95 s"):
        result.add_column(name, justify="right")
    for share, results in rows:
        refused = results.errors["status 429"]
        other_errors = {kind: count for kind, count in results.errors.items() if kind != "status 429"}
        quantiles = statistics.quantiles(results.latencies_s, n=20)
        result.add_row(
            f"{share:g}",
            f"{share * SATURATION_RPS:.1f}",
            f"{goodput(results):.1f}",
            f"{refused / results.duration_s:.1f}",
            ", ".join(f"{count} {kind}" for kind, count in other_errors.items()) or "0",
            f"{quantiles[9]:.2f}",
            f"{quantiles[18]:.2f}",
        )
    return result


def plot(rows: list[tuple[float, Answered]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    ordered = sorted(rows, key=lambda row: row[0])
    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.plot([share for share, _ in ordered], [goodput(results) for _, results in ordered], marker="o")
    axes.set(xlabel="offered load, of saturation", ylabel="answers in time, a second", ylim=(0, None))
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
