"""The exact text that people see of recorded responses."""

import copy
import io
from typing import Any

import pytest
from rich.console import Console

from serve_app.cli.asking.text import Body
from serve_app.cli.asking.view import render
from tests.cli.asking.responses import ACCEPTED, DEFERRED, SINGLE, THREE, WOBBLY


def changed(body: Body, **paths: Any) -> Body:
    """Return a copy with other values; `tiers__0__reason` is the record's `tiers[0].reason`."""
    body = copy.deepcopy(body)
    for path, value in paths.items():
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("__"))
        level: Any = body["cascade"]
        for step in steps:
            level = level[step]
        level[last] = value
    return body


def shown(body: Body, width: int = 80, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=width, **{"force_terminal": False} | options)
    render(body, console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().split("\n"))


VIEWS: dict[str, tuple[Body, str]] = {
    "accepted": (
        ACCEPTED,
        """
The capital of France is Paris.

tier    model         answer                           in  out  seconds  status
   1  * qwen-0.5b     The capital of France is Paris.  41    8     1.76  ok
        smollm2-135m  The capital of France is Paris.  42    8     0.60  ok

similarities (sbert)     1     2
1 qwen-0.5b           1.00  1.00
2 smollm2-135m        1.00  1.00

agreement 1.00 >= threshold 0.80 (sbert): accepted, qwen-0.5b answered
tokens  99 (83 in, 16 out)
cost    6.23e10 FLOPs, 41% of the target alone (1.51e11, estimated)
time    1.8 s (scoring: 0.02 s)
""",
    ),
    "deferred": (
        DEFERRED,
        """
1. Building walls
2. Creating floors
3. Constructing foundations

tier    model         answer                            in  out  seconds  status
   1    qwen-0.5b     1. To build a wall 2. To build …  41   21     2.54  ok
        smollm2-135m  1. A building's foundation: A b…  42   81     1.28  ok
   2  * qwen-1.5b     1. Building walls 2. Creating f…  41   16    13.49  ok

similarities (sbert)     1     2
1 qwen-0.5b           1.00  0.40
2 smollm2-135m        0.40  1.00

agreement 0.40 < threshold 0.95 (sbert): deferred to qwen-1.5b
tokens  242 (124 in, 118 out)
cost    2.75e11 FLOPs, 157% of the target alone (1.76e11)
time    16.2 s (tiers: 2.7 s, 13.5 s; scoring: 0.16 s)
""",
    ),
    "a single model": (
        SINGLE,
        """
The capital of France is Paris.

tier    model      answer                           in  out  seconds  status
   1  * qwen-0.5b  The capital of France is Paris.  36    8     1.65  ok

qwen-0.5b was asked alone, so there was nothing to decide
tokens  44 (36 in, 8 out)
cost    4.35e10 FLOPs
time    1.7 s
""",
    ),
    "a failed member": (
        WOBBLY,
        """
Paris is the capital of France.

tier    model    answer                                 in  out  seconds  status
   1  * small-a  Paris is the capital of France.         6    6     0.27  ok
        broken   The engine stopped: out of memory.      6    0     0.00  error
        small-b  The capital is Paris, on the Seine, …   6   12     0.17  ok

similarities (rougeL)     1    2     3  score
1 small-a              1.00  n/a  0.40   0.40
2 broken                n/a  n/a   n/a    n/a
3 small-b              0.40  n/a  1.00   0.40

agreement 0.40 >= threshold 0.30 (rougeL): accepted, small-a answered
tokens  36 (18 in, 18 out)
cost    2.89e10 FLOPs, 17% of the target alone (1.68e11, estimated)
time    0.27 s (scoring: <0.01 s)
""",
    ),
    "three tiers": (
        THREE,
        """
Paris is the capital and largest city of France.

It lies on the Seine.

tier    model    answer                                 in  out  seconds  status
   1    small-a  Paris is the capital of France.         6    6     0.25  ok
        small-b  The capital is Paris, on the Seine, …   6   12     0.16  ok
        small-c  Lyon.                                   6    1     0.00  ok
   2    mid-a    It is Paris.                            6    3     0.04  ok
        mid-b    The capital of France is the city of…   6    9     0.18  ok
   3  * large    Paris is the capital and largest cit…   6   14     0.85  ok

similarities of tier 1 (rougeL)     1     2     3  score
1 small-a                        1.00  0.40  0.00   0.20
2 small-b                        0.40  1.00  0.00   0.20
3 small-c                        0.00  0.00  1.00   0.00

similarities of tier 2 (bleu)     1     2
1 mid-a                        1.00  0.08
2 mid-b                        0.09  1.00

tier 1: agreement 0.20 < threshold 0.80 (rougeL): deferred to mid-a + mid-b
tier 2: agreement 0.09 < threshold 0.80 (bleu): deferred to large
tokens  81 (36 in, 45 out)
cost    3.80e11 FLOPs, 136% of the target alone (2.80e11)
time    1.3 s (tiers: 0.25 s, 0.19 s, 0.85 s; scoring: 0.01 s)
""",
    ),
}


@pytest.mark.parametrize(("body", "text"), VIEWS.values(), ids=VIEWS)
def test_what_people_see_at_80_columns(body: Body, text: str):
    assert shown(body) == text.removeprefix("\n")


LINES: list[tuple[dict[str, Any], str]] = [
    ({"reason": "disagreement", "agreement": 0.7996}, "agreement 0.7996 < threshold 0.8000 (sbert)"),
    ({"reason": "disagreement", "agreement": 0.5, "threshold": 0.825}, "agreement 0.500 < threshold 0.825 (sbert)"),
    ({"reason": "disagreement", "agreement": None}, "no agreement to compare with threshold 0.80 (sbert)"),
    ({"reason": "too_few_answers", "agreement": None}, "too few answers to compare (sbert)"),
    ({"reason": "nothing_to_return", "agreement": None}, "no answer that could be returned (sbert)"),
    ({"reason": "scorer_failed", "agreement": None}, "scoring failed (sbert)"),
    ({"reason": "forced", "agreement": 0.9}, "forced (sbert, agreement 0.90 >= threshold 0.80)"),
    ({"reason": "forced", "agreement": None}, "forced (sbert)"),
    (
        {"reason": "unsure", "signal": "chow_avg", "agreement": -0.7, "threshold": -0.5},
        "confidence -0.70 < threshold -0.50 (chow_avg)",
    ),
    (
        {"reason": "unsure", "signal": "chow_avg", "agreement": None, "threshold": -0.5},
        "no confidence to compare with threshold -0.50 (chow_avg)",
    ),
    (
        {"reason": "disagreement", "agreement": None, "agreement_bounds": [None, 0.75]},
        "agreement at most 0.75 < threshold 0.80 (sbert)",
    ),
    ({"reason": "a_new_one", "agreement": 0.5}, "a new one (sbert, agreement 0.50 < threshold 0.80)"),
]


@pytest.mark.parametrize(("tier", "line"), LINES)
def test_why_it_was_deferred(tier: dict[str, Any], line: str):
    body = changed(DEFERRED, tiers__0=DEFERRED["cascade"]["tiers"][0] | {"threshold": 0.8} | tier)
    assert f"\n{line}: deferred to qwen-1.5b\n" in shown(body)


@pytest.mark.parametrize(
    ("tier", "line"),
    [
        ({"agreement": 0.8}, "agreement 0.80 >= threshold 0.80 (sbert)"),
        ({"reason": "forced", "agreement": 0.1}, "forced (sbert, agreement 0.10 < threshold 0.80)"),
        ({"agreement": None, "agreement_bounds": [0.85, 1]}, "agreement at least 0.85 >= threshold 0.80 (sbert)"),
        ({"reason": "confident", "agreement": 0.9}, "confidence 0.90 >= threshold 0.80 (sbert)"),
    ],
)
def test_why_it_was_accepted(tier: dict[str, Any], line: str):
    body = changed(ACCEPTED, tiers__0=ACCEPTED["cascade"]["tiers"][0] | tier)
    assert f"\n{line}: accepted, qwen-0.5b answered\n" in shown(body)


def test_a_failed_scorer_says_why():
    body = changed(
        DEFERRED,
        tiers__0__similarities=None,
        tiers__0__agreement=None,
        tiers__0__reason="scorer_failed",
        tiers__0__scorer_error="There is no signal 'sbert'.",
    )
    text = shown(body)
    assert "\nscoring failed (sbert): deferred to qwen-1.5b\nThere is no signal 'sbert'.\n" in text
    assert "similarities" not in text


@pytest.mark.parametrize(
    ("by", "how"),
    [("members", "any answer of the members was accepted"), ("thresholds", "a lower threshold decided")],
)
def test_an_answer_under_pressure(by: str, how: str):
    text = shown(changed(ACCEPTED, shed={"by": by, "pressure": 0.625}))
    assert f"\n62% of the target's queue was taken, so {how}\n" in text


@pytest.mark.parametrize(
    ("cached", "source"),
    [({"age_s": 12.4}, "cached 12 s ago"), ({"age_s": 0.0, "shared": True}, "shared with an equal request")],
)
def test_an_answer_from_the_cache(cached: dict[str, Any], source: str):
    free = {"flops": 0, "usd": 0, "device_s": 0, "target_only": {"flops": 1.76e11, "usd": 0, "device_s": 1}}
    times = {"tiers": [], "scoring": 0, "total": 0.001}
    text = shown(changed(DEFERRED, cached=cached, models={}, cost=free, timings_s=times))
    assert "status" not in text
    assert f"deferred to qwen-1.5b\n{source}, so no model was asked\n" in text
    assert "cost    0.00e00 FLOPs, 0% of the target alone (1.76e11)\ntime    <0.01 s\n" in text


def test_a_decision_that_was_skipped():
    skipped = {"verdict": "deferred", "neighbours": 25, "deferred_share": 0.96}
    body = changed(DEFERRED, skipped=skipped, reason="skipped")
    del body["cascade"]["tiers"][0]
    text = shown(body)
    assert "\n96% of 25 past requests like it were deferred, so qwen-1.5b alone was asked\n" in text
    assert "nothing to decide" not in text


@pytest.mark.parametrize("count", [0, 1])
def test_a_record_of_another_server_may_lack_tiers(count: int):
    body = changed(DEFERRED)
    del body["cascade"]["tiers"][count:]
    line = "deferred\n" if count else "qwen-1.5b was asked alone, so there was nothing to decide\n"
    assert line in shown(body)


def test_a_member_that_stands_in_for_the_target():
    failed = {"status": "error", "message": "It stopped.", "prompt_tokens": 41, "completion_tokens": 0, "latency_s": 1}
    body = changed(
        DEFERRED,
        answered_by="qwen-0.5b",
        tiers__1__answers=[None],
        replaced={"model": "qwen-1.5b", "kind": "error", "message": "It stopped."},
    )
    body["cascade"]["models"]["qwen-1.5b"] = failed
    text = shown(body)
    assert "   1  * qwen-0.5b " in text
    assert "   2    qwen-1.5b     It stopped. " in text
    assert "\nqwen-1.5b failed, so the best member answer stands in, by qwen-0.5b\n" in text


COSTS: list[tuple[dict[str, Any], str]] = [
    ({}, "cost    6.23e10 FLOPs, 41% of the target alone (1.51e11, estimated)\ntime"),
    ({"cost__estimated": True}, "cost    about 6.23e10 FLOPs, 41% of the target alone (1.51e11, estimated)\ntime"),
    ({"cost__target_only__flops": None}, "cost    6.23e10 FLOPs\ntime"),
    ({"cost__target_only__flops": 6.232e13}, "FLOPs, <1% of the target alone (6.23e13, estimated)\ntime"),
    (
        {"cost__flops": None, "cost__usd": 0.0123456, "cost__target_only__usd": 0.02},
        "cost    FLOPs unknown: the config does not give every model's parameters\n"
        "        $0.012, 62% of the target alone ($0.020, estimated)\ntime",
    ),
    (
        {"cost__target_only__usd": 0.000075},
        "(1.51e11, estimated)\n        $0.00, 0% of the target alone ($0.000075, estimated)\ntime",
    ),
    ({"cost__usd": 12.5}, "(1.51e11, estimated)\n        $12.50\ntime"),
]


@pytest.mark.parametrize(("changes", "text"), COSTS)
def test_costs(changes: dict[str, Any], text: str):
    assert text in shown(changed(ACCEPTED, **changes))


def test_answers_are_shown_as_they_are():
    answer = "Look: [red]not red[/red] :smile:\n\n    indented\t`code`\x1b[31m\x07\r\nlast " + "long " * 30
    body = changed(ACCEPTED, tiers__0__answers=[answer, None])
    body["choices"][0]["message"]["content"] = answer
    piped = shown(body)
    long = "last " + ("long " * 30).rstrip()
    assert piped.startswith(f"Look: [red]not red[/red] :smile:\n\n    indented    `code`[31m\n{long}\n")
    assert "   1  * qwen-0.5b     Look: [red]not red[/red] :smile…  41 " in piped
    on_screen = shown(body, force_terminal=True, color_system=None)
    assert max(map(len, on_screen.split("\n"))) <= 80
    assert "\x1b[31m" not in on_screen


def test_half_a_surrogate_pair_is_shown_as_what_it_is():
    """A terminal cannot print it."""
    choice = {**ACCEPTED["choices"][0], "message": {"role": "assistant", "content": "half of \ud83d"}}
    assert "half of \ufffd" in shown({**ACCEPTED, "choices": [choice]})


def test_answers_that_are_empty_or_cut_off():
    body = changed(ACCEPTED, tiers__0__answers=[" \n", ""])
    body["choices"][0]["message"]["content"] = ""
    assert shown(body).startswith("(an empty answer)\n\n")
    assert "   1  * qwen-0.5b     (empty)  41 " in shown(body)
    body["choices"][0] |= {"finish_reason": "length", "message": {"role": "assistant", "content": "Once upon"}}
    assert shown(body).startswith("Once upon\n(cut off at the limit of tokens)\n\n")


def test_tool_calls_are_shown():
    call = {"id": "1", "type": "function", "function": {"name": "book", "arguments": '{"people": 2}'}}
    body = copy.deepcopy(SINGLE)
    body["choices"][0]["message"] |= {"content": None, "tool_calls": [call]}
    body["cascade"]["tiers"][0] |= {"answers": [""], "tool_calls": [[call["function"]]]}
    lines = shown(body).splitlines()
    assert lines[0] == 'book({"people": 2})'
    assert lines[3].startswith('   1  * qwen-0.5b  book({"people": 2})')


def test_a_record_without_answers_is_shown_too():
    tiers = [{name: value for name, value in tier.items() if name != "answers"} for tier in THREE["cascade"]["tiers"]]
    assert "   3  * large             6   14     0.85  ok\n" in shown(changed(THREE, tiers=tiers))


@pytest.mark.parametrize("width", [30, 40, 60, 120, 200])
@pytest.mark.parametrize("body", [ACCEPTED, DEFERRED, SINGLE, WOBBLY, THREE])
def test_every_width_fits(body: Body, width: int):
    body = copy.deepcopy(body)
    body["choices"][0]["message"]["content"] = "Paris."
    assert max(map(len, shown(body, width).split("\n"))) <= width


@pytest.mark.parametrize(("width", "missing"), [(60, "out"), (40, "in, out, seconds, status")])
def test_a_narrow_terminal_shows_who_answered_what_and_names_what_it_leaves_out(width: int, missing: str) -> None:
    text = shown(ACCEPTED, width)
    assert "* qwen-0.5b     The capital" in text
    assert "  smollm2-135m  The capital" in text
    table = text.split("similarities")[0]
    assert " ".join(table.split()).endswith(f"Too wide for this terminal, but in --json: {missing}.")


def test_a_matrix_that_does_not_fit_is_named() -> None:
    text = " ".join(shown(WOBBLY, 30).split())
    assert "n/a" not in text
    assert "Too wide for this terminal, but in --json: similarities." in text


def test_colours_only_on_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    options = {"force_terminal": True, "color_system": "standard"}
    assert "\x1b[32magreement 1.00" in shown(ACCEPTED, **options)
    assert "\x1b[33magreement 0.40" in shown(DEFERRED, **options)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in shown(DEFERRED, **options)
    assert "\x1b" not in shown(DEFERRED)


def test_thoughts_are_one_line_after_the_answer():
    body = copy.deepcopy(ACCEPTED)
    body["choices"][0]["message"]["reasoning_content"] = "France.\n" + "Its capital? " * 20
    answer, thought, *_ = shown(body).split("\n")
    assert answer == "The capital of France is Paris."
    assert thought.startswith("(thought before: France. Its capital?")
    assert len(thought) <= 80
    assert thought.endswith("…")
