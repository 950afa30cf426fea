"""Against exhaustive search: `impossible` is never said of what can be placed, and what is placed keeps the rules."""

from collections.abc import Iterator, Sequence
from itertools import chain

from hypothesis import example, given, settings
from hypothesis import strategies as st

from serve_app.config.deployment import Bundle
from serve_app.planning.feasibility import NodeGroup, fits
from serve_app.planning.plan import Placement, Plan, Replicas

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
UNITS = 10_000
Node = tuple[dict[str, int], tuple[int, ...]]
"""What is free: resources but GPUs, and each GPU, in ten-thousandths."""


def units(amount: float) -> int:
    return round(amount * UNITS)


def empty(resources: Bundle) -> Node:
    amounts = {name: units(amount) for name, amount in resources.items() if name != "GPU"}
    return amounts, (UNITS,) * int(resources.get("GPU", 0))


def after(node: Node, bundle: Bundle) -> Iterator[Node]:
    """Yield every way to put the bundle on the node."""
    amounts = {name: amount - units(bundle.get(name, 0)) for name, amount in node[0].items()}
    if min(amounts.values(), default=0) < 0 or any(
        bundle[name] and name not in amounts for name in bundle if name != "GPU"
    ):
        return
    gpus = sorted(node[1], reverse=True)
    share = units(bundle.get("GPU", 0))
    if share >= UNITS:
        whole = share // UNITS
        if gpus[:whole] == [UNITS] * whole:
            yield amounts, (*gpus[whole:], *[0] * whole)
        return
    for number, free in enumerate(gpus):
        if free >= share:
            yield amounts, (*gpus[:number], free - share, *gpus[number + 1 :])
    if not share and not gpus:
        yield amounts, ()


def placeable(replicas: Sequence[Placement], nodes: list[Node], chosen: tuple[int, ...] = ()) -> bool:
    """Return whether any placement exists; `chosen` are the nodes of the first replica's bundles so far."""
    if not replicas:
        return True
    placement = replicas[0]
    if len(chosen) == len(placement.bundles):
        return placeable(replicas[1:], nodes)
    for number, node in enumerate(nodes):
        if placement.strategy == "STRICT_PACK" and chosen and number != chosen[0]:
            continue
        if placement.strategy == "STRICT_SPREAD" and number in chosen:
            continue
        for changed in after(node, placement.bundles[len(chosen)]):
            if placeable(replicas, [*nodes[:number], changed, *nodes[number + 1 :]], (*chosen, number)):
                return True
    return False


def can_ever_run(plan: Plan, nodes: list[Node]) -> bool:
    """Return whether the start fits, and one replica of each that starts with none beside the least of the others."""
    cases = [plan.counts("initial")]
    for number, placement in enumerate(plan):
        if placement.replicas.initial == 0:
            counts = plan.counts("min")
            counts[number] = 1
            cases.append(counts)
    return all(placeable(list(chain(*([p] * n for p, n in zip(plan, counts, strict=True)))), nodes) for counts in cases)


bundles = st.fixed_dictionaries(
    {"CPU": st.sampled_from([0, 0.5, 1])},
    optional={"GPU": st.sampled_from([0.3, 0.5, 0.6, 1, 2]), "fast": st.just(1)},
)
placements = st.builds(
    Placement,
    name=st.sampled_from("abc"),
    kind=st.just("model"),
    engine=st.just("replay"),
    replicas=st.sampled_from([Replicas(1, 1, 1), Replicas(2, 2, 2), Replicas(0, 0, 1), Replicas(1, 2, 2)]),
    bundles=st.lists(bundles, min_size=1, max_size=2).map(tuple),
    strategy=st.sampled_from(STRATEGIES),
)
plans = st.lists(placements, min_size=1, max_size=2, unique_by=lambda placement: placement.name).map(
    lambda placements: Plan(tuple(placements))
)
resources = st.fixed_dictionaries(
    {"CPU": st.sampled_from([0, 1, 2]), "GPU": st.integers(0, 3), "fast": st.integers(0, 2)}
)


@settings(max_examples=500)
@given(plans, st.lists(resources, min_size=1, max_size=3))
@example(
    # Found by hand: whole GPUs first, or the two shares would break up both GPUs.
    Plan((Placement("a", "model", "x", Replicas(1, 1, 1), ({"GPU": 0.5}, {"GPU": 1}, {"GPU": 0.5}), "STRICT_PACK"),)),
    [{"CPU": 0, "GPU": 2}],
)
def test_impossible_is_never_said_of_what_can_be_placed(plan: Plan, nodes: list[Bundle]) -> None:
    fit = fits(plan, [NodeGroup(str(number), node) for number, node in enumerate(nodes)])
    if fit.impossible:
        assert not can_ever_run(plan, [empty(node) for node in nodes])


@given(plans, st.lists(resources, min_size=1, max_size=3))
def test_what_is_placed_keeps_the_rules(plan: Plan, nodes: list[Bundle]) -> None:
    fit = fits(plan, [NodeGroup(str(number), node) for number, node in enumerate(nodes)])
    if fit.impossible:
        assert fit.places == {}
        return
    capacities = [dict.fromkeys(("CPU", "GPU", "fast"), 0) | {k: units(v) for k, v in node.items()} for node in nodes]
    for placement in plan:
        assert len(fit.places[placement.name]) == placement.replicas.initial
        for places in filter(None, fit.places[placement.name]):
            for name, bundle in zip(places, placement.bundles, strict=True):
                for resource, amount in bundle.items():
                    capacities[int(name)][resource] -= units(amount)
            if placement.strategy == "STRICT_PACK":
                assert len(set(places)) == 1
            if placement.strategy == "STRICT_SPREAD":
                assert len(set(places)) == len(places)
    assert min(amount for node in capacities for amount in node.values()) >= 0
    unplaced = any(() in replicas for replicas in fit.places.values())
    assert unplaced == any(sentence.startswith("found no room for") for sentence in fit.warnings)
