"""A plan as a table and as JSON, with the same figures."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from serve_app.planning.feasibility import Fit, Places, amount, shown
from serve_app.planning.plan import Placement, Plan, Replicas, When, cautions

if TYPE_CHECKING:
    from rich.console import Console

TIMES: tuple[When, ...] = ("min", "initial", "max")


def body(plan: Plan, fit: Fit | None) -> dict[str, Any]:
    """Return everything as JSON: resources by Ray's names, memory in bytes; `fit` is null without nodes."""
    return {
        "deployments": [_entry(placement) for placement in plan],
        "totals": {when: plan.totals(when) for when in TIMES},
        "cautions": cautions(plan),
        "fit": None
        if fit is None
        else {
            "impossible": list(fit.impossible),
            "warnings": list(fit.warnings),
            "nodes": {name: [list(places) for places in replicas] for name, replicas in fit.places.items()},
        },
    }


def _entry(placement: Placement) -> dict[str, Any]:
    weights = placement.weights
    return {
        "name": placement.name,
        "kind": placement.kind,
        "engine": placement.engine or None,
        "replicas": {when: getattr(placement.replicas, when) for when in TIMES},
        "bundles": list(placement.bundles),
        "strategy": placement.strategy,
        "accelerator_type": placement.accelerator_type,
        "resources": placement.resources,
        "gpu_memory_utilization": placement.gpu_memory_utilization,
        "requests": None
        if placement.queue is None
        else {"at_once": placement.queue.slots, "waiting": placement.queue.waiting},
        "weights_estimate": None
        if weights is None
        else {"bytes": weights.bytes, "bytes_per_gpu": weights.bytes_per_gpu, "basis": weights.basis},
    }


def render(plan: Plan, fit: Fit | None, console: "Console") -> None:
    """Print the table, the sums and the verdict."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in (
        "deployment",
        "engine",
        "replicas",
        "requests",
        "CPUs",
        "GPUs",
        "memory",
        "weights",
        "a replica reserves",
        "nodes",
    ):
        if name != "nodes" or (fit and fit.places):
            table.add_column(name, justify="right" if name in ("CPUs", "GPUs", "memory") else "left")
    for placement in plan:
        cells = list(_cells(placement))
        if fit and fit.places:
            cells.append(_nodes(fit.places[placement.name]))
        table.add_row(Text(placement.name, "bold"), *map(Text, cells))
    console.print(table)
    console.print()
    for line in _sums(plan):
        console.print(Text(line))
    for note in _notes(plan, fit):
        console.print(Text(note))


def _cells(placement: Placement) -> Iterator[str]:
    needs = placement.resources
    yield placement.engine or placement.kind
    yield _count(placement.replicas)
    yield "" if placement.queue is None else f"{placement.queue.slots}, {placement.queue.waiting} wait"
    yield f"{needs.get('CPU', 0):g}"
    yield f"{needs.get('GPU', 0):g}"
    yield amount("memory", needs["memory"]).removesuffix(" of memory") if "memory" in needs else ""
    yield _weights(placement)
    yield _bundles(placement)


def _count(replicas: Replicas) -> str:
    if replicas.min == replicas.max:
        return str(replicas.min)
    first = f", first {replicas.initial}" if replicas.initial != replicas.min else ""
    return f"{replicas.min} to {replicas.max}{first}"


def _weights(placement: Placement) -> str:
    weights = placement.weights
    if weights is None:
        return ""
    per_gpu = f", {_gigabytes(weights.bytes_per_gpu)} a GPU" if weights.bytes_per_gpu and weights.gpus != 1 else ""
    return f"{_gigabytes(weights.bytes)}{per_gpu} ({weights.basis})"


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.3g} GB"


def _bundles(placement: Placement) -> str:
    """Return the bundles in words, equal ones together: `4 x (1 CPU, 1 GPU), PACK`."""
    if len(placement.bundles) == 1:
        return shown(placement.bundles[0])
    counts = Counter(shown(bundle) for bundle in placement.bundles)
    return f"{' + '.join(f'{count} x ({text})' for text, count in counts.items())}, {placement.strategy}"


def _nodes(replicas: tuple[Places, ...]) -> str:
    """Return in words how many bundles each node holds."""
    counts = Counter(node for places in replicas for node in places)
    nodes = [node if count == 1 else f"{node} x {count}" for node, count in counts.items()]
    missing = replicas.count(())
    return ", ".join([*nodes, *([f"no room: {missing}"] if missing else [])]) or "none yet"


def _sums(plan: Plan) -> Iterator[str]:
    totals = {when: _list(plan.totals(when)) for when in TIMES}
    if len(set(totals.values())) == 1:
        yield f"In all: {totals['max']}."
        return
    first = f" {totals['initial']} at the start," if totals["initial"] != totals["min"] else ""
    yield f"In all: {totals['min']} at the least,{first} {totals['max']} at the most."


def _list(resources: dict[str, float]) -> str:
    return ", ".join(amount(resource, number) for resource, number in resources.items()) or "nothing"


def _notes(plan: Plan, fit: Fit | None) -> Iterator[str]:
    if any(placement.weights for placement in plan):
        yield "Weights are estimates; what a context needs (KV cache) comes on top."
    if shares := [f"{p.name} {p.gpu_memory_utilization:.0%}" for p in plan if p.gpu_memory_utilization]:
        yield f"vLLM fills a share of each of its GPUs with weights and KV cache: {', '.join(shares)}."
    for sentence in (*cautions(plan), *(fit.warnings if fit else ())):
        yield f"Warning: {sentence}."
    if fit and not fit.impossible and not fit.warnings:
        yield "It fits."
