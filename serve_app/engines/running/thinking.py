"""Thoughts that a model writes before its answer, told apart from the answer's text as both grow."""

import re
from collections.abc import Sequence
from typing import Annotated, NamedTuple, TypeAlias

from pydantic import Field

from serve_app.engines.base import Settings
from serve_app.engines.running.stopping import begin_within


class Markers(Settings):
    """The marks around a model's thoughts, which count only at the beginning of an answer."""

    open: str = Field(default="<think>", pattern=r"^\S(.*\S)?$", description="What thoughts begin with.")
    close: str = Field(default="</think>", pattern=r"^\S(.*\S)?$", description="What they end with.")
    begins_open: bool | None = Field(
        default=None,
        description="Whether the chat template has written the opening mark already, so that answers begin inside the "
        "thoughts. Default: llama_cpp looks at the template, for others it is false.",
    )


Reasoning: TypeAlias = Annotated[
    Markers | None,
    Field(description="Tags that enclose the reasoning before an answer; null: the whole text is the answer."),
]


class Pieces(NamedTuple):
    """What a piece of an answer adds to the thoughts, and to the text that follows them."""

    reasoning: str
    text: str


class ThoughtSplitter:
    """Divides an answer, fed in pieces of any size, into thoughts and text.

    White space around either is left out where they meet. A mark may come apart over pieces, so what may be the
    beginning of one is held back. Without `markers`, or without an opening mark, all is text, unchanged.
    """

    def __init__(self, markers: Markers | None, *, begins_open: bool | None = None) -> None:
        """Begin an answer; `begins_open` overrides that of the markers."""
        self._markers = markers
        self._open = bool(markers and (markers.begins_open if begins_open is None else begins_open))
        self._state = self._text if markers is None else self._undecided
        self._buffer = ""
        self._trims = False

    @property
    def thinking(self) -> bool:
        """Return whether no text has come yet after an opening mark."""
        return self._state == self._thought or (self._state == self._text and self._trims)

    def feed(self, piece: str) -> Pieces:
        """Take in `piece` and return what is certain by now."""
        self._buffer += piece
        return self._state()

    def flush(self) -> Pieces:
        """Return what was held back, once no more comes: an answer that ends inside the thoughts has no text."""
        text, self._buffer = self._buffer, ""
        if self._state == self._thought or (self._state == self._undecided and self._open):
            return Pieces(text.lstrip() if self._trims else text, "")
        return Pieces("", text.lstrip() if self._trims else text)

    def plain(self) -> None:
        """Take all that follows as text: the endpoint has separated the thoughts already."""
        self._state = self._text

    def _undecided(self) -> Pieces:
        assert self._markers is not None
        beginning = self._buffer.lstrip()
        if beginning.startswith(self._markers.open):
            self._buffer = beginning.removeprefix(self._markers.open)
        elif self._markers.open.startswith(beginning):
            return Pieces("", "")
        elif not self._open:
            self._state = self._text
            return self._text()
        self._state, self._trims = self._thought, True
        return self._thought()

    def _thought(self) -> Pieces:
        assert self._markers is not None
        if self._trims:
            self._buffer = self._buffer.lstrip()
            self._trims = not self._buffer
        before, close, after = self._buffer.partition(self._markers.close)
        if close:
            self._buffer, self._state, self._trims = after, self._text, True
            return Pieces(before.rstrip(), self._text().text)
        thought = before[: len(before) - _longest_end(before, self._markers.close)].rstrip()
        self._buffer = before[len(thought) :]
        return Pieces(thought, "")

    def _text(self) -> Pieces:
        text, self._buffer = self._buffer, ""
        if self._trims:
            text = text.lstrip()
            self._trims = not text
        return Pieces("", text)


def _longest_end(text: str, mark: str) -> int:
    """Return the length of the longest end of `text` that begins `mark`."""
    return next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if mark.startswith(text[-size:])), 0)


def without_thoughts(tokens: Sequence[bytes], reasoning: str, text: str, markers: Markers | None) -> int:
    """Return how many of an answer's tokens, each as UTF-8, are those of its thoughts and of the marks around them.

    The result is 0 if the endpoint leaves out the tokens of the thoughts.
    """
    whole, answer = b"".join(tokens), text.encode(errors="replace")
    if not reasoning and whole.startswith(answer):
        return 0
    marks = (re.escape(mark.encode()) for mark in ((markers.open, markers.close) if markers else ("", "")))
    thoughts = re.escape(reasoning.encode(errors="replace"))
    match = re.match(rb"\s*(?:%b)?\s*%b\s*(?:%b)?\s*" % (next(marks), thoughts, next(marks)), whole)
    if match is None or answer not in whole[match.end() :]:
        return 0
    return begin_within(match.end(), map(len, tokens))
