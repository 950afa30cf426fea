"""The judge of `make chaos`: what it lets pass and what it reports, worked by hand; no cluster."""

import json
import os
import shutil
import socket
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtests.chaos.backend import OTHER, SAME, TARGET, answer_of
from loadtests.chaos.faults import FAULTS
from loadtests.chaos.head_state import redis
from loadtests.chaos.judge import FAILS_NOTHING, Window, complaints, decisions
from loadtests.chaos.load import End, Sent, read_plain, read_stream
from loadtests.chaos.raylets import config
from loadtests.chaos.report import gap_s, markdown, rows
from loadtests.chaos.schedule import AFTER_S, schedule
from serve_app.config.ray_rules import load

DECIDED = {"answered_by": "first", "deferred": False, "reason": "agreement"}
ANSWER = {"choices": [{"finish_reason": "stop"}], "cascade": DECIDED}
ERROR = {"error": {"message": "Away.", "type": "server_error"}}


def test_a_seed_says_which_faults_come_each_as_often_as_the_others() -> None:
    drawn = list(islice(schedule(["a", "b", "c"], 7), 9))
    assert drawn == list(islice(schedule(["a", "b", "c"], 7), 9))
    assert drawn != list(islice(schedule(["a", "b", "c"], 8), 9))
    assert [sorted(fault.name for fault in drawn[at : at + 3]) for at in (0, 3, 6)] == [["a", "b", "c"]] * 3


def test_between_two_faults_there_is_a_time_that_none_excuses() -> None:
    for fault in islice(schedule(["a", "b", "c"], 7), 99):
        assert fault.after_s > AFTER_S + 1


def test_what_harms_no_request_is_a_fault_that_there_is() -> None:
    assert set(FAULTS) > FAILS_NOTHING


def test_its_config_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config(1234, tmp_path / "records.jsonl", 8000, 2)))
    assert load(path).application.args.cascades.keys() == {"default"}


def test_the_members_agree_on_even_questions() -> None:
    assert [answer_of("second", f"What is {number}?") for number in (4, 5)] == [SAME, OTHER]
    assert answer_of("target", "What is 4?") == TARGET


@pytest.mark.parametrize(
    ("status", "retry_after", "body", "end"),
    [
        (200, None, ANSWER, "answered"),
        (200, None, {"choices": []}, "malformed"),
        (503, "2", ERROR, "refused"),
        (429, "2", ERROR, "refused"),
        (503, None, ERROR, "malformed"),
        (504, None, ERROR, "error"),
        (500, None, "Internal Server Error", "malformed"),
        (500, None, {"error": {"message": "", "type": "server_error"}}, "malformed"),
    ],
)
def test_how_a_whole_response_ends(status: int, retry_after: str | None, body: Any, end: End) -> None:
    assert read_plain(status, retry_after, json.dumps(body).encode())[0] == end


CHUNK = f"data: {json.dumps(ANSWER)}\n\n"


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (f": waiting\n\n{CHUNK}data: [DONE]\n\n", "answered"),
        ("data: {}\n\ndata: [DONE]\n\n", "malformed"),
        (f"event: error\ndata: {json.dumps(ERROR)}\n\n", "error"),
        (CHUNK, "cut"),
        ("data: {\n\n", "malformed"),
    ],
)
def test_how_a_stream_ends(text: str, end: End) -> None:
    assert read_stream(200, None, text.encode())[0] == end


def sent(end: End, at_s: float = 100.0, record: dict[str, Any] | None = None, seconds: float = 1.0) -> Sent:
    return Sent(1, "plain", at_s, seconds, end, 200, "what", record, ["r1"])


KILLED, LOST, FULL = [Window(name, 95, 105) for name in ("member killed", "node lost", "disk full")]


@pytest.mark.parametrize(
    ("item", "logged", "windows", "problem"),
    [
        (sent("answered", record=DECIDED), {"r1": [DECIDED]}, [], None),
        (sent("answered", record=DECIDED), {}, [], "no decision was logged"),
        (sent("answered", record=DECIDED), {}, [LOST], None),
        (sent("answered", record=DECIDED), {"r1": [DECIDED | {"answered_by": "target"}]}, [LOST], "logged is"),
        (sent("answered", record=DECIDED), {"r1": [DECIDED, DECIDED]}, [KILLED], "has 2 decisions"),
        (sent("answered", record=DECIDED), {"r1": [DECIDED], "other": [DECIDED]}, [], "which nobody sent"),
        (sent("error"), {}, [], "during no fault) failed"),
        (sent("error"), {"r1": [DECIDED | {"answered_by": None}]}, [KILLED], None),
        (sent("error"), {"r1": [DECIDED]}, [KILLED], "logged is an answer"),
        (sent("error", seconds=12), {"r1": [DECIDED]}, [KILLED], None),
        (sent("refused", at_s=118), {}, [KILLED], "during no fault) failed"),
        (sent("error"), {}, [FULL], "during disk full) failed"),
        (sent("error"), {}, [FULL, KILLED], None),
        (sent("cut"), {}, [LOST], None),
        (sent("cut"), {}, [KILLED], "was cut"),
        (sent("late", seconds=40), {}, [LOST], "was late after 40.0 s"),
        (sent("malformed"), {}, [LOST], "was malformed"),
        (sent("left"), {"r1": [DECIDED]}, [], None),
    ],
)
def test_what_should_not_have_been(
    item: Sent, logged: dict[str, Any], windows: list[Window], problem: str | None
) -> None:
    problems = complaints([item], logged, windows)
    assert len(problems) == (problem is not None)
    assert problem is None or problem in problems[0]


def test_decisions_are_read_from_the_routers_logs(tmp_path: Path) -> None:
    line = {"request_id": "r1", "message": f"decision {json.dumps(DECIDED)}"}
    (tmp_path / "replica_cascade_Router_x.log").write_text(f'{json.dumps(line)}\n{{"message": "else"}}\n{{"cut of')
    (tmp_path / "replica_cascade_first_x.log").write_text(json.dumps(line | {"request_id": "r2"}))
    assert decisions(tmp_path) == {"r1": [DECIDED]}


def test_a_table_has_a_row_for_each_fault_for_none_and_for_all() -> None:
    load = [sent("answered"), sent("error", at_s=100), sent("left"), sent("answered", at_s=10), sent("cut", at_s=111)]
    table = rows(load, [KILLED, Window("node lost", 110, 120)])
    assert [(row["fault"], row["times"], row["requests"], row["answered"]) for row in table] == [
        ("member killed", 1, 2, 0.5),
        ("node lost", 1, 1, 0.0),
        ("no fault", 0, 1, 1.0),
        ("all", 2, 4, 0.5),
    ]
    assert markdown(table).splitlines()[2] == "| member killed | 1 | 2 | 50.0% | 0 | 50.0% | 0 | 0 | - | 0.0 |"


def test_the_longest_time_without_an_answer() -> None:
    ends: list[tuple[float, float, End]] = [(3, 1, "answered"), (0, 1, "answered"), (1, 9, "answered"), (5, 2, "error")]
    sent = [Sent(number, "plain", at_s, seconds, end) for number, (at_s, seconds, end) in enumerate(ends)]
    assert gap_s(sent) == 6  # from 4 to 10 s
    assert gap_s(sent[:1]) == 0


def test_without_a_redis_the_head_keeps_its_state_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with redis() as runs:
        assert not runs
        assert "RAY_REDIS_ADDRESS" not in os.environ


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server: apt install redis-server")
def test_ray_is_told_of_a_redis_while_it_runs() -> None:
    with redis() as runs:
        assert runs
        host, _, port = os.environ["RAY_REDIS_ADDRESS"].partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(100) == b"+PONG\r\n"
    assert "RAY_REDIS_ADDRESS" not in os.environ
