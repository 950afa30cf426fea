"""Whether a plan fits a cluster: bundles placed on nodes, by the rules of Ray's placement groups.

`impossible` is set only if no placement can exist: a sum, or a single replica, is more than the cluster can have.
Placing is first-fit-decreasing, which may miss a placement that exists, so its failures are warnings. Labels of nodes
and Serve's `max_replicas_per_node` are not considered, and Ray may place otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from serve_app.config.deployment import ACCELERATOR, Bundle
from serve_app.planning.plan import Placement, Plan, scaled, total
from serve_app.planning.room import Room

Places: TypeAlias = tuple[str, ...]
"""The node of each bundle of one replica; empty if there is no room."""


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes that are alike: `count` now, and up to `max_count` with an autoscaler."""

    name: str
    resources: Mapping[str, float]
    count: int = 1
    max_count: int = 1

    def nodes(self, count: int) -> Iterator[tuple[str, Room]]:
        """Yield names and rooms of `count` nodes, all empty."""
        for number in range(count):
            yield self.name if self.max_count == 1 else f"{self.name}-{number + 1}", Room.of(self.resources)


@dataclass(frozen=True, slots=True)
class Fit:
    """The verdict: why the plan is impossible, warnings, and where each replica goes at the start."""

    impossible: tuple[str, ...]
    warnings: tuple[str, ...]
    places: Mapping[str, tuple[Places, ...]]


def fits(plan: Plan, groups: Sequence[NodeGroup]) -> Fit:
    """Place the plan's first replicas on the nodes that are up, and return whether it can ever run."""
    later = [node for group in groups for node in group.nodes(max(group.count, group.max_count))]
    now = [node for group in groups for node in group.nodes(group.count)]
    if impossible := tuple(_faults(plan, [room for _, room in later])):
        return Fit(impossible, (), {})
    places = _place_all(plan, now)
    return Fit((), tuple(_doubts(plan, places, [room for _, room in now], [room for _, room in later])), places)


def _faults(plan: Plan, rooms: Sequence[Room]) -> Iterator[str]:
    """Yield reasons why no placement can exist."""
    for placement in plan:
        if placement.replicas.max and (reason := _alone(placement, rooms)):
            yield reason
    yield from _short(plan, plan.counts("initial"), rooms)
    # A deployment that starts with no replicas needs room for one later, beside the minimum of the others.
    for number, placement in enumerate(plan):
        if placement.replicas.initial == 0 < placement.replicas.max:
            counts = plan.counts("min")
            counts[number] = max(1, counts[number])
            yield from _short(
                plan, counts, rooms, f" for one replica of {placement.name!r} beside the least of the others"
            )


def _alone(placement: Placement, rooms: Sequence[Room]) -> str | None:
    """Return why one replica fits no empty cluster of such nodes, or None."""
    for bundle in placement.bundles:
        if not any(room.could_hold([bundle]) for room in rooms):
            return f"no node can hold a bundle of {placement.name!r}: {shown(bundle)}"
    number = len(placement.bundles)
    if placement.strategy == "STRICT_PACK" and not any(room.could_hold(placement.bundles) for room in rooms):
        return (
            f"no node can hold a replica of {placement.name!r}, whose {number} bundles STRICT_PACK puts on one: "
            f"{shown(total(placement.bundles))}"
        )
    if placement.strategy == "STRICT_SPREAD":
        able = sum(any(room.could_hold([bundle]) for bundle in placement.bundles) for room in rooms)
        if able < number:
            return (
                f"STRICT_SPREAD puts the {number} bundles of {placement.name!r} on as many nodes, {able} can hold one"
            )
    return None


def _short(plan: Plan, counts: Sequence[int], rooms: Sequence[Room], condition: str = "") -> Iterator[str]:
    """Yield a sentence for each resource of which the sum is more than all nodes have."""
    needs_by_name = [(p.name, scaled(_by_type(p.bundles), count)) for p, count in zip(plan, counts, strict=True)]
    capacity = total(_by_type([room.total]) for room in rooms)
    for resource, need in total(needs for _, needs in needs_by_name).items():
        if need > capacity.get(resource, 0):
            parts = [
                f"{name}: {_number(resource, needs[resource])}" for name, needs in needs_by_name if needs.get(resource)
            ]
            available = _number(resource, capacity.get(resource, 0))
            yield f"it needs {amount(resource, need)}{condition} ({', '.join(parts)}), the cluster has {available}"


def _by_type(bundles: Iterable[Bundle]) -> Bundle:
    """Return the sum, with the GPUs of each accelerator type that the bundles (or nodes) name."""
    marked: list[Bundle] = []
    for bundle in bundles:
        types = [resource.removeprefix(ACCELERATOR) for resource in bundle if resource.startswith(ACCELERATOR)]
        marked.append(bundle | {f"{type_} GPU": bundle.get("GPU", 0) for type_ in types})
    return total(marked)


def _doubts(plan: Plan, places: Mapping[str, tuple[Places, ...]], now: list[Room], later: list[Room]) -> Iterator[str]:
    if waiting := list(_faults(plan, now)):
        yield from (f"{sentence}: the remaining replicas wait for nodes to be added" for sentence in waiting)
    else:
        for name, replicas in places.items():
            if missing := replicas.count(()):
                yield f"found no room for {missing} of {len(replicas)} replicas of {name!r}, though the sums allow it"
    yield from (
        f"at max_replicas {sentence}: the remaining replicas would wait"
        for sentence in _short(plan, plan.counts("max"), later)
    )


def _place_all(plan: Plan, nodes: Sequence[tuple[str, Room]]) -> dict[str, tuple[Places, ...]]:
    """Place the largest replicas first (first-fit-decreasing), on the node with the fewest GPUs that has room."""
    # Replicas without GPUs go to nodes without GPUs first.
    order = sorted(nodes, key=lambda node: (node[1].total.get("GPU", 0), -node[1].total.get("CPU", 0)))
    places: dict[str, list[Places]] = {placement.name: [] for placement in plan}
    for placement in sorted(plan, key=_size, reverse=True):
        for _ in range(placement.replicas.initial):
            places[placement.name].append(_place_one(placement, order))
    return {name: tuple(replicas) for name, replicas in places.items()}


def _size(placement: Placement) -> tuple[bool, float, float, float]:
    needs = placement.resources
    return placement.strategy.startswith("STRICT"), needs.get("GPU", 0), needs.get("memory", 0), needs.get("CPU", 0)


def _place_one(placement: Placement, nodes: Sequence[tuple[str, Room]]) -> Places:
    if placement.strategy in ("PACK", "STRICT_PACK"):
        for name, room in nodes:
            if room.take(placement.bundles):
                return (name,) * len(placement.bundles)
        if placement.strategy == "STRICT_PACK":
            return ()
    return _place_apart(placement, nodes)


def _place_apart(placement: Placement, nodes: Sequence[tuple[str, Room]]) -> Places:
    """Place bundle by bundle; SPREAD takes a node twice only if no unused node has room."""
    trial_rooms = {name: room.copy() for name, room in nodes}
    places: list[str] = []
    for bundle in placement.bundles:
        fresh: Iterable[str] = [name for name in trial_rooms if name not in places]
        if placement.strategy == "PACK":
            fresh = [*dict.fromkeys(places), *fresh]
        elif placement.strategy == "SPREAD":
            fresh = [*fresh, *dict.fromkeys(places)]
        node = next((name for name in fresh if trial_rooms[name].take([bundle])), None)
        if node is None:
            return ()
        places.append(node)
    for name, room in nodes:
        room.become(trial_rooms[name])
    return tuple(places)


def amount(resource: str, number: float) -> str:
    """Return an amount in words: `9 GPUs`, `0.5 CPUs`, `16 GB of memory`, `2 of TPU-v5`."""
    text = _number(resource, number)
    if resource.endswith(("CPU", "GPU")):
        return f"{text} {resource}{'' if number == 1 else 's'}"
    return f"{text} of {resource}"


def shown(bundle: Bundle) -> str:
    """Return a bundle in words, with the accelerator type that it must have."""
    marks = [resource.removeprefix(ACCELERATOR) for resource in bundle if resource.startswith(ACCELERATOR)]
    amounts = [amount(resource, number) for resource, number in total([bundle]).items()]
    return ", ".join([*amounts, *marks]) or "nothing"


def _number(resource: str, number: float) -> str:
    return f"{number / 1e9:.4g} GB" if resource == "memory" else f"{number:.10g}"
