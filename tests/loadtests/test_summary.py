import pytest

from loadtests.load.log import Result
from loadtests.load.summary import cost_ratio, markdown, progress, sentences, summarize, text

from .runs import RESULTS, START, accepted, run


def test_the_figures_of_a_run():
    summary = summarize(run(RESULTS))
    assert (summary.requests, summary.failures) == (6, {"HTTP 503 server_error": 1, "timeout": 1})
    assert summary.duration_s == 10
    assert summary.error_rate == pytest.approx(2 / 6)
    assert summary.throughput_rps == pytest.approx(0.4)
    assert (summary.p95_latency_s, summary.p95_ttft_s, summary.deferral_rate) == (2.0, 1.0, 0.25)
    assert (summary.cost_ratio, summary.cost_unit) == (pytest.approx(220 / 400), "FLOPs")
    assert [(figure.name, figure.values) for figure in summary.figures] == [
        ("latency, s", (0.2, 0.4, 0.6, 2.0)),
        ("  accepted", (0.2, 0.4, 0.6)),
        ("  deferred", (2.0,)),
        ("first token, s", (1.0,)),
        ("  deferred", (1.0,)),
        ("per token, s", (0.1,)),
        ("  deferred", (0.1,)),
    ]


def test_what_is_printed():
    assert text(summarize(run(RESULTS))).splitlines() == [
        "                requests   mean    p50    p90    p95    p99    max",
        "latency, s             4  0.800  0.400  2.000  2.000  2.000  2.000",
        "  accepted             3  0.400  0.400  0.600  0.600  0.600  0.600",
        "  deferred             1  2.000  2.000  2.000  2.000  2.000  2.000",
        "first token, s         1  1.000  1.000  1.000  1.000  1.000  1.000",
        "  deferred             1  1.000  1.000  1.000  1.000  1.000  1.000",
        "per token, s           1  0.100  0.100  0.100  0.100  0.100  0.100",
        "  deferred             1  0.100  0.100  0.100  0.100  0.100  0.100",
        "",
        "requests   6 in 10.0 s, 0.40/s answered",
        "failed     2 (33.3%): HTTP 503 server_error (1), timeout (1)",
        "deferred   25.0%",
        "cost       55% of the target alone (FLOPs)",
    ]
    assert markdown(summarize(run(RESULTS))).splitlines()[:4] == [
        "|  | requests | mean | p50 | p90 | p95 | p99 | max |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| latency, s | 4 | 0.800 | 0.400 | 2.000 | 2.000 | 2.000 | 2.000 |",
        "| - accepted | 3 | 0.400 | 0.400 | 0.600 | 0.600 | 0.600 | 0.600 |",
    ]


def test_a_run_without_requests_has_no_figures():
    summary = summarize(run([]))
    assert (summary.error_rate, summary.p95_latency_s, summary.figures) == (None, None, ())
    assert sentences(summary) == ["requests   0 in 10.0 s, 0.00/s answered", "failed     0 (0.0%)"]


def test_several_models_are_told_apart():
    single = Result(START, "t", False, 3.0, answered_by="t", flops=100.0, target_flops=100.0)
    summary = summarize(run([*RESULTS, single]))
    latency = {figure.name: figure.values for figure in summary.figures[:5]}
    assert latency["  default"] == (0.2, 0.4, 0.6, 2.0)
    assert latency["  t"] == (3.0,)
    assert (summary.deferral_rate, summary.cost_ratio) == (0.25, pytest.approx(220 / 400))  # of the cascade's


def test_cost_in_dollars_where_flops_are_unknown():
    priced = accepted(0, 1, flops=None, target_flops=None, usd=0.5, target_usd=2.0)
    assert cost_ratio([priced]) == (0.25, "USD")
    assert cost_ratio([accepted(0, 1, flops=None)]) == (None, None)


def test_a_load_generator_that_is_too_slow_says_so():
    assert sentences(summarize(run([accepted(0, 1, late_s=0.01)])))[-1] == "sent late  p99 0.010 s"
    assert "too slow for this trace" in sentences(summarize(run([accepted(0, 1, late_s=0.2)])))[-1]


def test_progress():
    assert progress(RESULTS, 5) == "0.8/s   p95 2.00 s   deferred 25%   failed 2"
    assert progress([], 5) == "0.0/s   p95 -   deferred -   failed 0"
