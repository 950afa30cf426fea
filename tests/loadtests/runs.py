"""A run of six requests, by hand."""

from loadtests.load.log import Result, Run

START = 1_000.0


def accepted(at_s, latency_s, **more):
    cost = {"flops": 30.0, "usd": 0.0, "target_flops": 100.0, "target_usd": 0.0}
    return Result(START + at_s, "default", False, latency_s, deferred=False, answered_by="a", **(cost | more))


def deferred(at_s, latency_s):
    """Return the result of a deferred request, which is streamed."""
    cost = {"flops": 130.0, "usd": 0.0, "target_flops": 100.0, "target_usd": 0.0}
    timed = {"first_token_s": latency_s / 2, "token_s": 0.1}
    return Result(START + at_s, "default", True, latency_s, deferred=True, answered_by="t", **timed, **cost)


RESULTS = [
    accepted(0, 0.2),
    accepted(1, 0.4),
    accepted(2, 0.6),
    deferred(3, 2.0),
    Result(START + 4, "default", True, 5.0, "HTTP 503 server_error"),
    Result(START + 9, "default", False, 1.0, "timeout"),
]


def run(results):
    return Run({"time": START, "shape": "ramp"}, results, [], START + 10)
