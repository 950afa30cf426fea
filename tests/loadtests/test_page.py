from loadtests.load.log import Result
from loadtests.load.page import ratios, report_markdown

from .runs import RESULTS, START, run


def test_two_runs_as_ratios():
    alone = [Result(START + at_s, "t", False, 2.0, flops=100.0, target_flops=100.0) for at_s in range(4)]
    named = [("cascade", run(RESULTS)), ("target", run(alone))]
    assert ratios(named) == [
        ["requests answered", "4", "4", "1.00"],
        ["mean latency, s", "0.8", "2", "0.40"],
        ["p50 latency, s", "0.4", "2", "0.20"],
        ["p95 latency, s", "2", "2", "1.00"],
        ["p99 latency, s", "2", "2", "1.00"],
        ["FLOPs a request", "55", "100", "0.55"],
    ]
    assert ratios(named[:1]) == []
    assert "| mean latency, s | 0.8 | 2 | 0.40 |" in report_markdown(named)
