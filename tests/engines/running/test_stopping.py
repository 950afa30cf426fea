"""Stop strings on growing text."""

import pytest

from serve_app.core.types.answer import TokenLogprob
from serve_app.engines.running.stopping import StopMatcher, begin_within, within


@pytest.mark.parametrize(
    ("stops", "pieces", "shown", "stopped"),
    [
        ((), ["a", "b"], ["a", "b"], False),
        (("",), ["a"], ["a"], False),
        (("b",), ["ab", "c"], ["a"], True),
        (("END",), ["one E", "N", "D two"], ["one ", "", ""], True),
        (("END",), ["one E", "N", "T"], ["one ", "", "ENT"], False),
        (("END",), ["E", "E", "ND"], ["", "E", ""], True),
        (("aab",), ["aa", "a", "b"], ["", "a", ""], True),
        (("xyz", "b"), ["axb"], ["ax"], True),
        (("xyz", "b"), ["ax", "b"], ["a", "x"], True),
        (("bc", "b"), ["ab"], ["a"], True),
        (("🎉🎉",), ["🎉", "!"], ["", "🎉!"], False),
    ],
)
def test_feed(stops: tuple[str, ...], pieces: list[str], shown: list[str], stopped: bool) -> None:
    matcher = StopMatcher(stops)
    outputs = []
    for piece in pieces:
        outputs.append(matcher.feed(piece))
        if matcher.stopped:
            break
    assert (outputs, matcher.stopped) == (shown, stopped)


def test_what_was_held_back_comes_at_the_end() -> None:
    matcher = StopMatcher(("END",))
    assert matcher.feed("one EN") + matcher.flush() == "one EN"
    assert matcher.flush() == ""


@pytest.mark.parametrize(("text", "count"), [("", 0), ("a", 1), ("ab", 1), ("abc", 2), ("abcd", 2), ("abcde", 3)])
def test_within(text: str, count: int) -> None:
    entries = [TokenLogprob(token, -1.0) for token in ("ab", "cd", "ef", "")]
    assert within(text, entries) == tuple(entries[:count])


def test_begin_within() -> None:
    assert [begin_within(end, [2, 0, 3, 0]) for end in (0, 1, 2, 3, 5, 6)] == [0, 1, 1, 3, 3, 4]
