import pytest

from loadtests.load import LoadError
from loadtests.load.schedule import users_at


@pytest.mark.parametrize(
    ("shape", "users"),
    [
        #           0  10  20  30  40  50  60  70  80  90 s
        ("constant", [8, 8, 8, 8, 8, 8, 8, 8, 8, 8]),
        ("step", [2, 2, 4, 4, 5, 5, 7, 7, 8, 8]),
        ("ramp", [1, 1, 2, 3, 4, 5, 5, 6, 7, 8]),
        ("spike", [1, 1, 1, 1, 8, 8, 1, 1, 1, 1]),
        ("soak", [1, 8, 8, 8, 8, 8, 8, 8, 8, 8]),
    ],
)
def test_eight_users_over_a_hundred_seconds(shape, users):
    assert [users_at(shape, time_s, 8, 100) for time_s in range(0, 100, 10)] == users


def test_a_soak_begins_with_a_short_ramp():
    assert [users_at("soak", time_s, 4, 1000) for time_s in (0, 12, 13, 25, 38, 50, 999)] == [1, 1, 2, 3, 4, 4, 4]


@pytest.mark.parametrize("shape", ["constant", "step", "ramp", "spike", "soak"])
def test_every_shape_ends(shape):
    assert users_at(shape, 59.9, 3, 60) in (1, 3)
    assert users_at(shape, 60, 3, 60) is None


def test_a_replay_has_no_number_of_users():
    with pytest.raises(LoadError, match="'replay' has no number of users"):
        users_at("replay", 0, 1, 60)
