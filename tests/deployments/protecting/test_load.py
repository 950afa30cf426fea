"""How many requests a model may have, by its config; and when there should be room again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.config import AppConfig
from serve_app.deployments.protecting.load import Load, Permit, fullest, loads
from serve_app.planning.queues import Queue, queue_of


def config(**router: object) -> AppConfig:
    return AppConfig.model_validate(
        {
            "models": {
                "a": {"engine": "replay", "slots": 4},
                "b": {"engine": "replay", "slots": 100, "deployment": {"num_replicas": 3}},
                "t": {
                    "engine": "replay",
                    "slots": 5,
                    "deployment": {"autoscaling_config": {"min_replicas": 0, "max_replicas": 2}},
                },
            },
            "cascades": {
                "default": {
                    "tiers": [
                        {"models": ["a", "b"], "signal": "exact", "threshold": 1},
                        {"models": ["t"]},
                    ]
                }
            },
            "router": router,
        }
    )


@pytest.mark.parametrize(
    ("name", "waiting", "routers", "expected"),
    [
        ("a", 2, 1, (4, 8)),
        ("a", 0, 1, (4, 0)),
        ("a", 0.3, 1, (4, 2)),
        ("a", 2, 3, (2, 3)),
        ("b", 2, 1, (192, 384)),  # three replicas; Serve gives each 64 of its 100 slots to fill
        ("t", 1, 1, (10, 10)),  # as many replicas as load may bring
    ],
)
def test_limits(name: str, waiting: float, routers: int, expected: tuple[int, int]) -> None:
    assert queue_of(config(max_waiting=waiting), name, routers) == Queue(*expected)


def test_each_router_takes_its_share() -> None:
    shared = loads(config(deployment={"num_replicas": 2}))
    assert {name: (load.slots, load.most) for name, load in shared.items()} == {
        "a": (2, 6),
        "b": (96, 288),
        "t": (5, 15),
    }


def test_when_there_is_room_again() -> None:
    load = Load(Queue(2, 4))
    assert load.retry_after_s == 1
    load.answered(3.0)
    load.in_progress = 5
    assert not load.full
    permit = load.acquire()
    assert load.full
    assert load.retry_after_s == pytest.approx(3.0 * 5 / 2)  # four wait, and this one, for two slots
    permit.release()
    permit.release()
    assert load.in_progress == 5


def test_a_place_counts_once_while_it_is_held() -> None:
    load = Load(Queue(2, 4))
    permit = Permit(load)
    assert load.in_progress == 0
    for is_held, count in ((True, 1), (True, 1), (False, 0), (True, 1)):
        permit.acquire() if is_held else permit.release()
        assert (permit.is_held, load.in_progress) == (is_held, count)


def holding(load: Load, key: str | None) -> int:
    """Return how many permits a key gets if it asks for more until it is refused."""
    count = 0
    while not load.full_for(key):
        Permit(load, key).acquire()
        count += 1
    return count


@pytest.mark.parametrize(("waiting", "alone"), [(0, 4), (4, 6), (8, 9), (16, 15)])
def test_a_key_that_floods_fills_the_slots_but_not_the_queue(waiting: int, alone: int) -> None:
    load = Load(Queue(4, waiting))
    assert holding(load, "flood") == alone
    assert load.full_for("flood")
    if waiting:
        assert not load.full_for("other")


def test_the_more_keys_the_less_each_gets_and_the_next_one_still_gets_in() -> None:
    """Of 12 permits: 9 are three times the 3 that are left, 2 twice the one that is left then."""
    load = Load(Queue(4, 8))
    assert [holding(load, key) for key in ("a", "b", "c", "d")] == [9, 2, 1, 0]


def test_without_keys_all_places_are_for_everybody() -> None:
    load = Load(Queue(4, 8))
    assert holding(load, None) == 12
    assert load.full_for("a")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60), st.integers(1, 5), st.integers(1, 10))
def test_who_holds_places_never_takes_the_last_one_of_a_queue(
    events: list[tuple[str, bool]], slots: int, waiting: int
) -> None:
    load, permits = Load(Queue(slots, waiting)), dict[str, list[Permit]](a=[], b=[], c=[])
    for key, arrives in events:
        if arrives and not load.full_for(key):
            was_there = bool(permits[key])
            permits[key].append(Permit(load, key))
            permits[key][-1].acquire()
            assert not (was_there and load.full)
        elif not arrives and permits[key]:
            permits[key].pop().release()
        assert load.in_progress == sum(map(len, permits.values())) <= load.most
        assert load.by_key == {key: len(key_permits) for key, key_permits in permits.items() if key_permits}


def test_the_longest_wait_is_named() -> None:
    quick, slow, free = Load(Queue(1, 0)), Load(Queue(1, 0)), Load(Queue(1, 1))
    quick.in_progress = slow.in_progress = free.in_progress = 1
    slow.answered(60)
    assert fullest({"quick": quick, "slow": slow, "free": free}) == "slow"
    assert fullest({"free": free}) is None
