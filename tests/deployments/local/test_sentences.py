"""The sentence that matters of a long text."""

import pytest

from serve_app.deployments.local.sentences import first_line, last_sentence


@pytest.mark.parametrize(
    ("text", "line"),
    [("one\ntwo", "one"), ("\n  one  \n", "one"), ("", "no reason was given"), (" \n", "no reason was given")],
)
def test_the_first_line_says_something(text: str, line: str) -> None:
    assert first_line(text) == line


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Traceback:\n  File\nValueError: no such model\n", "no such model."),
        ("ray.exceptions.RayError: gone.\nLogs: /tmp", "gone."),
        ("It stopped\nUsage: none", "Usage: none."),
        ("", "no reason was given."),
    ],
)
def test_the_last_sentence_is_the_exceptions_message(text: str, sentence: str) -> None:
    assert last_sentence(text) == sentence
