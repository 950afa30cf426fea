"""A capacity plan as a table and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from serve_app.planning.capacity import Capacity
from serve_app.planning.demand import Assumed
from serve_app.planning.simulation import Load, Simulated, simulate
from serve_app.planning.stations import BUSY, Station

if TYPE_CHECKING:
    from rich.console import Console

SIMULATED_RPS = 20.0
"""Limit of the simulated rate: a higher one takes long and shows little more."""
MANY_HANDLES = 10_000


def check(plan: Capacity) -> Simulated:
    """Simulate the planned fleet under its load, by discrete events."""
    assumed = plan.assumed
    return simulate(plan.fleet, Load(assumed.rps, assumed.prompt_tokens, assumed.completion_tokens))


def body(plan: Capacity, simulation: Simulated, checked_rps: float) -> dict[str, Any]:
    """Return the same figures as JSON; times in seconds."""
    return {
        "assumed": asdict(plan.assumed) | {"busy": BUSY, "cpu_s": asdict(plan.fleet.costs)},
        "stations": [
            {
                "name": station.name,
                "kind": station.kind,
                "rps": station.rps * station.visits,
                "carries_rps": station.carries_rps,
                "replicas": station.replicas,
                "busy": station.busy,
                "configured": station.configured,
                "breaks_rps": station.breaks_rps if station.visits else None,
                "asked_ahead_in_vain_rps": station.rps * plan.wasted_visits.get(station.name, 0.0),
            }
            for station in plan.stations
        ],
        "devices": _devices(plan),
        "handles": plan.handles,
        "not_measured": [*plan.encoders, *plan.isolated],
        "mean_latency_s": list(plan.latencies_s),
        "simulated": {
            "rps": checked_rps,
            "mean_s": [simulation.mean_s(tier) if simulation.ended_with(tier) else None for tier in _tiers(plan)],
            "p50_s": simulation.percentile_s(50),
            "p95_s": simulation.percentile_s(95),
            "p99_s": simulation.percentile_s(99),
        },
    }


def render(plan: Capacity, simulation: Simulated, checked_rps: float, console: "Console") -> None:
    """Print the table, what breaks first, and latencies by formula and by simulation."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("deployment", "requests/s", "one carries", "replicas", "busy", "configured", "which carry"):
        table.add_column(name, justify="left" if name == "deployment" else "right")
    for station in plan.stations:
        table.add_row(*_cells(station))
    console.print(_sentence(plan.assumed))
    console.print()
    console.print(table)
    console.print()
    for line in (*_lines(plan), *_not_measured(plan), *_asked_ahead(plan), *_latencies(plan, simulation, checked_rps)):
        console.print(line)


def _sentence(assumed: Assumed) -> str:
    rates = ", ".join(f"{rate:.0%}" for rate in assumed.deferral_rates) or "nothing"
    return (
        f"{assumed.cascade}: {_number(assumed.rps)} requests a second of {assumed.prompt_tokens} + "
        f"{assumed.completion_tokens} tokens, {rates} deferred, replicas {BUSY:.0%} busy at the most."
    )


def _cells(station: Station) -> Iterator[str]:
    yield station.name
    yield _number(station.rps * station.visits)
    yield _number(station.carries_rps)
    yield f"{station.replicas:,}"
    yield f"{station.busy:.0%}"
    yield f"{station.configured:,}"
    yield _number(station.breaks_rps)


def _lines(plan: Capacity) -> Iterator[str]:
    first, second, *_ = plan.by_breaking()
    yield (
        f"As configured, {first.name} breaks first, above {_number(first.breaks_rps)} requests a second; "
        f"then {second.name}, above {_number(second.breaks_rps)}."
    )
    yield f"Devices of the models: {_devices(plan):,g}. Proxies: one a node, so at least as many nodes."
    if plan.handles > MANY_HANDLES:
        yield (
            f"Every router keeps a handle to every replica, {plan.handles:,} in all, which is untested: split the "
            "load over several clusters."
        )


def _not_measured(plan: Capacity) -> Iterator[str]:
    """Yield which signals take longer than what is counted for them, by their model and its device."""
    if plan.encoders:
        yield f"The Scorer is counted with the time of rougeL. Longer, and not known: {', '.join(plan.encoders)}."
    if plan.isolated:
        yield f"Not counted, since the time is not known: the deployment of {', '.join(plan.isolated)}."


def _asked_ahead(plan: Capacity) -> Iterator[str]:
    """Yield what `speculate` adds to the work of each model, if anything."""
    for name, visits in plan.wasted_visits.items():
        if visits:
            share = visits / next(station.visits for station in plan.stations if station.name == name)
            yield (
                f"Of {name}'s work {share:.0%} is asked ahead in vain (speculate), as if every request took the mean "
                "seconds and there was always room; the simulation asks nothing ahead."
            )


def _latencies(plan: Capacity, simulation: Simulated, checked_rps: float) -> Iterator[str]:
    by_tier = ", ".join(f"{seconds:.2f} s" for seconds in plan.latencies_s)
    yield f"Mean latency by formula, of requests that end with each tier: {by_tier}."
    simulated = ", ".join(
        f"{simulation.mean_s(tier):.2f} s" if simulation.ended_with(tier) else "none" for tier in _tiers(plan)
    )
    yield (
        f"Simulated at {_number(checked_rps)} requests a second, with the replicas for that: {simulated}; of all p50 "
        f"{simulation.percentile_s(50):.2f}, p95 {simulation.percentile_s(95):.2f}, "
        f"p99 {simulation.percentile_s(99):.2f} s."
    )


def _tiers(plan: Capacity) -> range:
    return range(1, len(plan.latencies_s) + 1)


def _devices(plan: Capacity) -> float:
    return sum(station.replicas * station.devices for station in plan.stations)


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
