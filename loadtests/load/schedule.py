"""Load shapes: how many users there are at a time of the run."""

from math import ceil
from typing import Literal, get_args

from . import LoadError

Shape = Literal["constant", "step", "ramp", "spike", "soak", "replay"]
SHAPES: tuple[Shape, ...] = get_args(Shape)

STEPS = 5
"""Steps of the shape `step`, of equal height and length."""
SPIKE_BASE = 0.1
"""Share of the users that are there before and after a spike."""
SPIKE = (0.4, 0.6)
"""When a spike begins and ends, as shares of the duration."""
SOAK_RAMP = 0.05
"""Share of the duration in which a soak's users come."""


def users_at(shape: Shape, time_s: float, users: int, duration_s: float) -> int | None:
    """Return the users at `time_s` after the start, at most `users`; None when the run is over.

    `replay` has no number of users: its arrivals come from a trace.
    """
    if time_s >= duration_s:
        return None
    share = time_s / duration_s
    match shape:
        case "constant":
            return users
        case "step":
            return ceil(users * (int(share * STEPS) + 1) / STEPS)
        case "ramp":
            return min(users, 1 + int(users * share))
        case "spike":
            return users if SPIKE[0] <= share < SPIKE[1] else max(1, round(users * SPIKE_BASE))
        case "soak":
            return min(users, 1 + int(users * share / SOAK_RAMP))
        case _:
            raise LoadError(f"--shape: {shape!r} has no number of users. Those that have: {', '.join(SHAPES[:-1])}.")
