import statistics
from itertools import pairwise

import pytest

from loadtests.load import LoadError
from loadtests.load.trace import Arrival, poisson, read_trace, write_trace


@pytest.fixture
def trace(tmp_path):
    def write(text):
        path = tmp_path / "trace.csv"
        path.write_text(text)
        return path

    return write


def test_times_and_lengths(trace):
    path = trace("arrival_s,max_tokens\n0,64\n0.25,\n0.25,8\n")
    assert read_trace(path) == [Arrival(0.0, 64), Arrival(0.25, None), Arrival(0.25, 8)]
    assert read_trace(path, speed=0.5) == [Arrival(0.0, 64), Arrival(0.5, None), Arrival(0.5, 8)]


def test_files_of_other_programs(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_bytes(b"\xef\xbb\xbfarrival_s,max_tokens\r\n0,64\r\n0.25,\r\n")
    assert read_trace(path) == [Arrival(0.0, 64), Arrival(0.25, None)]
    path.write_bytes("arrival_s\n0\n".encode("utf-16"))
    with pytest.raises(LoadError, match=r"^--trace: .*trace\.csv: not UTF-8 at byte 1\.$"):
        read_trace(path)


def test_azures_traces(trace):
    path = trace(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n"
        "2023-11-16 18:15:50.9951690,396,109\n"
    )
    assert read_trace(path) == [Arrival(0.0, 44), Arrival(pytest.approx(4.314579), 109)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"the header must be arrival_s.*, not nothing\."),
        ("time\n1\n", r"the header must be arrival_s\[,max_tokens\] or TIMESTAMP,.*, not time\."),
        ("arrival_s\n", "there are no arrivals in it"),
        ("arrival_s\n1\nsoon\n", "line 3: arrival_s must be seconds from the start, not 'soon'"),
        ("arrival_s\n-1\n", "line 2: arrival_s must be seconds from the start, not '-1'"),
        ("arrival_s\nnan\n", "line 2: arrival_s must be"),
        ("arrival_s\n1\n0.5\n", "line 3: arrives before the line above it"),
        ("arrival_s,max_tokens\n1,0\n", "line 2: max_tokens must be a whole number from 1, not '0'"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nnow,1,1\n", "line 2: TIMESTAMP must be an ISO date and time"),
    ],
)
def test_what_is_wrong_is_named(trace, text, complaint):
    with pytest.raises(LoadError, match=complaint):
        read_trace(trace(text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(LoadError, match=r"--trace: The file '.*gone.csv' cannot be read: No such file"):
        read_trace(tmp_path / "gone.csv")


def test_poisson_arrivals_have_exponential_gaps():
    times = [arrival.time_s for arrival in poisson(rate=20, duration_s=500, seed=7)]
    gaps = [after - before for before, after in pairwise(times)]
    assert times == sorted(times)
    assert times[-1] < 500
    assert statistics.mean(gaps) == pytest.approx(0.05, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(0.05, rel=0.05)  # an exponential's deviation is its mean
    assert poisson(20, 500, seed=7) == poisson(20, 500, seed=7) != poisson(20, 500, seed=8)


def test_what_is_written_is_read(tmp_path):
    arrivals = poisson(5, 10, seed=1)
    write_trace(tmp_path / "trace.csv", arrivals)
    assert read_trace(tmp_path / "trace.csv") == arrivals
