"""Thoughts apart from text: any cutting into pieces gives what the whole gives."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve_app.engines.running.thinking import Markers, ThoughtSplitter, without_thoughts

THINK = Markers()
OTHER = Markers(open="[THINK]", close="[/THINK]")


def split(*pieces: str, markers: Markers | None = THINK, begins_open: bool | None = None) -> tuple[str, str]:
    splitter = ThoughtSplitter(markers, begins_open=begins_open)
    parts = [*map(splitter.feed, pieces), splitter.flush()]
    assert not any(earlier.text and later.reasoning for earlier, later in pairwise(parts))
    return "".join(part.reasoning for part in parts), "".join(part.text for part in parts)


@pytest.mark.parametrize(
    ("whole", "reasoning", "text"),
    [
        ("Paris.", "", "Paris."),
        ("\n Paris. ", "", "\n Paris. "),
        ("<think>Capital? Paris.</think>Paris.", "Capital? Paris.", "Paris."),
        ("\n<think>\nCapital?\n\n</think>\n\n Paris.\n", "Capital?", "Paris.\n"),
        ("<think>\n\n</think>\n\nParis.", "", "Paris."),
        ("<think></think>", "", ""),
        ("<think>one</think><think>two</think>", "one", "<think>two</think>"),
        ("I <think>so</think>.", "", "I <think>so</think>."),
        ("a</think>b", "", "a</think>b"),
        ("<think>a <think> b</think>c", "a <think> b", "c"),
        ("<think>cut sho", "cut sho", ""),
        ("<think>cut </thi", "cut </thi", ""),
        ("<think>cut\n", "cut\n", ""),
        ("<think>done</think>\n", "done", ""),
        ("<think> </ think></think>x", "</ think>", "x"),
        ("<thi", "", "<thi"),
        ("<thinking>x", "", "<thinking>x"),
        ("", "", ""),
        (" \n", "", " \n"),
    ],
)
def test_thoughts_and_text(whole: str, reasoning: str, text: str) -> None:
    assert split(whole) == (reasoning, text)


@pytest.mark.parametrize(
    ("whole", "reasoning", "text"),
    [
        ("Capital?</think>\n\nParis.", "Capital?", "Paris."),
        ("<think>\nCapital?</think>Paris.", "Capital?", "Paris."),  # some models, and llama.cpp, say the mark again
        ("\nCapital?", "Capital?", ""),
        ("<thi", "<thi", ""),
        ("</think>Paris.", "", "Paris."),
    ],
)
def test_a_template_that_opens_the_thoughts(whole: str, reasoning: str, text: str) -> None:
    assert split(whole, begins_open=True) == (reasoning, text)
    assert split(whole, markers=Markers(begins_open=True)) == (reasoning, text)


def test_a_models_own_marks() -> None:
    assert split("[THINK]hm[/THINK]yes", markers=OTHER) == ("hm", "yes")
    assert split("<think>hm</think>yes", markers=OTHER) == ("", "<think>hm</think>yes")


def test_without_marks_all_is_text() -> None:
    assert split("<think>hm</think>yes", markers=None) == ("", "<think>hm</think>yes")


def test_text_that_somebody_else_has_split_stays_whole() -> None:
    splitter = ThoughtSplitter(Markers(begins_open=True))
    splitter.plain()
    assert splitter.feed("<think>x") == ("", "<think>x")


ALPHABET = st.sampled_from(["<think>", "</think>", "<", "/", "think", ">", " ", "\n", "a", "é", "🎉", "</thi"])


@given(st.lists(ALPHABET, max_size=12).map("".join), st.data(), st.booleans())
def test_any_cutting_into_pieces_gives_the_same(whole: str, data: st.DataObject, begins_open: bool) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)))))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert split(*pieces, begins_open=begins_open) == split(whole, begins_open=begins_open)


@given(st.text(max_size=20), st.text(max_size=20))
def test_what_is_put_together_comes_apart(thought: str, text: str) -> None:
    assume((thought + "</think>").find("</think>") == len(thought))
    assert split(f"<think>{thought}</think>{text}") == (thought.strip(), text.lstrip())


@pytest.mark.parametrize("markers", [{"open": ""}, {"close": " x"}, {"open": "\n"}])
def test_marks_that_could_not_be_found_are_refused(markers: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Markers.model_validate(markers)


def test_the_tokens_of_the_thoughts_are_counted() -> None:
    tokens = [b"<think>", b"\n", b"Capi", b"tal?", b"\n</", b"think>", b"\n\n", b"Paris", b"."]
    assert without_thoughts(tokens, "Capital?", "Paris.", Markers()) == 7
    assert without_thoughts(tokens, "Capital?", "", Markers()) == 7
    assert without_thoughts(tokens[7:], "Capital?", "Paris.", Markers()) == 0
    assert without_thoughts([b"Paris", b"."], "Paris", "Paris.", Markers()) == 0
    assert without_thoughts([b"<think>", b"\n\n</think>", b"\n", b"Paris"], "", "Paris", Markers()) == 3
    assert without_thoughts([b"\n", b"Paris", b"\n"], "", "Paris", Markers()) == 1
    assert without_thoughts([b"\n", b"Paris"], "", "\nParis", Markers()) == 0
    assert without_thoughts([b"Capital?", b"Paris"], "Capital?", "Paris", None) == 1
