"""Every program and config of ../shared/cases/security: which tests hold its right outcome."""

from pathlib import Path

import pytest

from serve_app.config.serve_file import load
from serve_app.planning.queues import Queue, queue_of
from tests.test_security import ROOT, functions_in

CASES = ROOT.parent / "shared" / "cases" / "security"

LIMITS = "tests/api/intake/test_limits.py::"
GRAMMAR = "tests/engines/llama_cpp/test_grammar.py::"
OVERLOAD = (
    "tests/deployments/protecting/test_overload.py::"
    "test_goodput_holds_at_three_times_saturation_and_it_recovers_at_once",
    "tests/deployments/test_router.py::test_a_full_member_refuses_the_request_and_sends_it_to_nobody",
)
UNFINISHED = (
    LIMITS + "test_a_body_that_never_finishes_is_a_408_and_the_connection_is_closed",
    LIMITS + "test_bodies_that_never_finish_keep_nobody_waiting_and_leave_by_themselves",
)
PATTERNS = (
    GRAMMAR + "test_what_cannot_be_enforced_is_said_by_name",
    GRAMMAR + "test_a_hostile_schema_ends_and_the_next_one_is_compiled",
    GRAMMAR + "test_hostile_schemas_cost_the_engine_no_other_request",
)
PROGRAMS = {
    "client_left_counts_unavailable.py": (
        "tests/serve/replayed/test_departures.py::test_clients_that_leave_are_counted_as_cancelled",
    ),
    "f1_one_body_stops_the_router.py": (
        LIMITS + "test_a_hostile_body_is_refused_and_stops_nobody",
        LIMITS + "test_a_body_over_the_limit_is_a_413",
    ),
    "wrong_list_items.py": (
        LIMITS + "test_a_hostile_body_is_refused_and_stops_nobody",
        LIMITS + "test_every_list_and_dict_of_a_request_is_bounded",
    ),
    "f_pattern_kills_llama_cpp.py": PATTERNS,
    "long_enum.py": (*PATTERNS, LIMITS + "test_a_hostile_body_is_refused_and_stops_nobody"),
    "llama.yaml": PATTERNS,
    "f_unfinished_bodies.py": UNFINISHED,
    "over_r.yaml": UNFINISHED,
    "overload.py": OVERLOAD,
    "over.yaml": OVERLOAD,
    "over_q.yaml": OVERLOAD,
    "sigterm_cuts_streams.py": (
        "tests/serve/test_cli_serve.py::test_says_where_it_is_finishes_its_streams_and_leaves_nothing_behind",
        "tests/serve/test_lost_replicas.py::test_a_rolling_restart_loses_no_request",
    ),
    "stream.yaml": (
        "tests/api/answering/test_stream.py::test_an_answer_cannot_end_its_stream_or_add_a_header",
        "tests/deployments/protecting/test_guarded_model.py::test_a_call_that_is_given_up_for_its_time_is_a_failure",
        "tests/deployments/protecting/test_guarded_model.py::test_a_model_that_keeps_failing_is_left_out",
        "tests/serve/replayed/test_graph.py::test_a_failed_member_is_a_reason_to_defer",
        "tests/serve/replayed/test_graph.py::test_a_failed_target_is_an_error",
    ),
}


@pytest.fixture
def cases() -> Path:
    if not CASES.exists():
        pytest.skip(f"no programs: {CASES} is missing")
    return CASES


def test_every_program_has_tests_of_its_right_outcome(cases: Path) -> None:
    assert {path.name for path in cases.iterdir()} == PROGRAMS.keys()


@pytest.mark.parametrize("named", sorted({test for tests in PROGRAMS.values() for test in tests}))
def test_these_tests_exist(named: str) -> None:
    file, _, test = named.partition("::")
    assert test in functions_in(ROOT / file)


@pytest.mark.parametrize("name", ["over.yaml", "over_q.yaml", "over_r.yaml"])
def test_what_queued_without_end_is_bounded_by_default(cases: Path, name: str) -> None:
    config = load(cases / name).application.args
    assert {queue_of(config, model) for model in config.deployed()} == {Queue(slots=4, waiting=8)}
