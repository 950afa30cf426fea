import pytest

from loadtests.load import LoadError
from loadtests.load.gates import GATES, Verdict, judge, read_gates
from loadtests.load.summary import summarize

from .runs import RESULTS, run


def test_gates():
    verdicts = judge(dict.fromkeys(GATES, 0.4), summarize(run(RESULTS)))
    assert [(verdict.gate, verdict.passed) for verdict in verdicts] == [
        ("max_p95_latency_s", False),
        ("max_p95_ttft_s", False),
        ("max_error_rate", True),
        ("min_throughput_rps", True),
        ("max_deferral_rate", True),
        ("max_cost_ratio", False),
    ]
    assert str(verdicts[0]) == "FAIL  max_p95_latency_s   2 (must be <= 0.4)"
    assert str(verdicts[3]) == "ok    min_throughput_rps  0.4 (must be >= 0.4)"


def test_what_was_not_measured_is_not_met():
    assert str(Verdict("max_p95_ttft_s", 1, None)) == "FAIL  max_p95_ttft_s      not measured (must be <= 1)"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "must have lines such as"),
        ("- 1", "must have lines such as"),
        ("max_p95_latency: 5", "there is no gate 'max_p95_latency'. Available: max_p95_latency_s,"),
        ("max_error_rate: low", "max_error_rate: must be a number from 0, not 'low'"),
        ("max_error_rate: true", "max_error_rate: must be a number from 0, not True"),
        ("max_error_rate: .nan", "max_error_rate: must be a number from 0, not nan"),
        ("max_error_rate: [", "not YAML"),
    ],
)
def test_gates_that_are_wrong(tmp_path, content, complaint):
    (tmp_path / "slo.yaml").write_text(content)
    with pytest.raises(LoadError, match=complaint):
        read_gates(tmp_path / "slo.yaml")
