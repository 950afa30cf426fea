from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.types.answer import Answer, Failure, FailureKind, FinishReason, Generation, TokenLogprob
from serve_app.core.types.prompt import ToolCall
from serve_app.evaluation.records.answers import Answers, Logprobs
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.lines import answer_body, example_body
from tests.evaluation.collecting import question
from tests.evaluation.records.headers import header, write

TEXTS = st.text(st.characters(), max_size=20)  # lone surrogates and line separators, too
NUMBERS = st.floats(0, 1e6)
COUNTS = st.integers(0, 10**6)
GENERATIONS = st.builds(
    Generation,
    text=TEXTS,
    finish_reason=st.sampled_from(get_args(FinishReason)),
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    logprobs=st.none() | st.lists(st.builds(TokenLogprob, TEXTS, st.floats(-1e6, 0))).map(tuple),
    latency_s=NUMBERS,
    first_token_s=st.none() | NUMBERS,
    tool_calls=st.lists(st.builds(ToolCall, TEXTS, TEXTS, TEXTS), max_size=2).map(tuple),
    estimated=st.booleans(),
)
FAILURES = st.builds(
    Failure, st.sampled_from(get_args(FailureKind)), TEXTS, COUNTS, COUNTS, NUMBERS, st.booleans(), st.just(False)
)


@given(st.lists(st.none() | GENERATIONS | FAILURES, min_size=1, max_size=4))
def test_every_answer_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, answers: list[Answer | None]
) -> None:
    examples = [question(i) for i in range(len(answers))]
    lines = [answer_body(example.id, "a", answer) for example, answer in zip(examples, answers, strict=True) if answer]
    path = tmp_path_factory.mktemp("records") / "r.jsonl"
    records = Records.load(write(path, header().body(), *map(example_body, examples), *lines))
    assert list(records.answers["a"]) == answers
    assert records.answers["a"][len(answers) - 1] == answers[-1]
    assert list(records.answers["t"]) == [None] * len(answers)
    for i, answer in enumerate(answers):
        values = records.answers["a"].logprobs(i)
        expected = answer.logprobs if isinstance(answer, Generation) else None
        assert (None if values is None else list(values)) == (
            None if expected is None else [x.logprob for x in expected]
        )
        light = replace(answer, logprobs=None) if isinstance(answer, Generation) else answer
        assert records.answers["a"].without_logprobs(i) == light
    assert records.complete(["a"]) == [i for i, answer in enumerate(answers) if answer]
    assert records.complete() == []


def test_a_later_answer_replaces_the_log_probabilities_too() -> None:
    answers = Answers(["q1", "q2"])
    answers.put(1, Generation("x", "stop", 1, 1), Logprobs([["x", -0.5]]))
    assert answers[1] == Generation("x", "stop", 1, 1, (TokenLogprob("x", -0.5),))
    answers.put(1, Generation("y", "stop", 1, 1), None)
    assert list(answers) == [None, Generation("y", "stop", 1, 1)]
    assert answers.logprobs(1) is None


@pytest.mark.parametrize("pairs", [5, [["x"]], [[None, -1]], [["x", "y"]]])
def test_what_is_not_log_probabilities(pairs: object) -> None:
    with pytest.raises(ValueError, match="logprobs: must be pairs of a token and a number"):
        Logprobs(pairs)
