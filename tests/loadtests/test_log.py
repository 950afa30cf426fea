import pytest

from loadtests.load import LoadError
from loadtests.load.log import Log, read_log

from .runs import RESULTS, START


def test_a_log_is_read_as_it_was_written(tmp_path):
    log = Log(tmp_path / "new" / "load.jsonl")
    log.open(START, {"shape": "ramp"})
    log.sample(START + 1, users=3, ready=True, replicas={"t": 2})
    log.requests(reversed(RESULTS))
    log.close(START + 10)
    written = read_log(log.path)
    assert written.about == {"time": START, "shape": "ramp"}
    assert written.results == RESULTS
    assert written.samples == [{"time": START + 1, "users": 3, "ready": True, "replicas": {"t": 2}}]
    assert written.end == START + 10


def test_a_log_that_was_cut_off_is_read_up_to_there(tmp_path):
    path = tmp_path / "load.jsonl"
    path.write_text('{"kind":"run","time":1.0}\n{"kind":"sample","time":2.0,"users":1}\n{"kind":"requ')
    assert (read_log(path).results, read_log(path).end) == ([], 2.0)


def test_names_may_have_any_character(tmp_path):
    log = Log(tmp_path / "load.jsonl")
    log.open(START, {"models": "a\u2028b\x85c \ud83d"})
    log.close(START)
    assert read_log(log.path).about["models"] == "a\u2028b\x85c \ud83d"
    log.path.write_bytes(
        log.path.read_bytes().decode().replace("\\u2028", "\u2028").replace("\n", "\r\n").encode("utf-8-sig")
    )
    assert read_log(log.path).about["models"] == "a\u2028b\x85c \ud83d"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "it has no line about the run"),
        (
            '{"kind":"run","time":1}\n{"kind":"request","time":1,"mood":2}\n',
            r"load\.jsonl:2: not a line of a load test's log",
        ),
        ('{"kind"\n{"kind":"run","time":1}\n', r"load\.jsonl:1: not JSON"),
    ],
)
def test_files_that_are_no_logs(tmp_path, content, complaint):
    (tmp_path / "load.jsonl").write_text(content)
    with pytest.raises(LoadError, match=complaint):
        read_log(tmp_path / "load.jsonl")
