"""Stop strings, matched on the text as it grows."""

from collections.abc import Iterable, Sequence

from serve_app.core.types import TokenLogprob


class StopMatcher:
    """Passes text through until one of `stops` appears; the stop string itself is never shown.

    Text that may be the beginning of a stop string is held back until it is clear that it is not.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False

    def feed(self, piece: str) -> str:
        """The text that can be shown for certain, now that `piece` has come."""
        if not self._stops:
            return piece
        text = self._held + piece
        found = [at for at in map(text.find, self._stops) if at >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        shown = len(text) - self._longest_beginning(text)
        self._held = text[shown:]
        return text[:shown]

    def rest(self) -> str:
        """What was held back, once no more text comes."""
        held, self._held = self._held, ""
        return held

    def _longest_beginning(self, text: str) -> int:
        """The length of the longest end of `text` with which a stop string begins."""
        longest = max(map(len, self._stops)) - 1
        for size in range(min(longest, len(text)), 0, -1):
            end = text[-size:]
            if any(stop.startswith(end) for stop in self._stops):
                return size
        return 0


def within(text: str, logprobs: Sequence[TokenLogprob]) -> tuple[TokenLogprob, ...]:
    """The entries of tokens that begin within `text`: those of a stop string are no part of the answer."""
    return tuple(logprobs[: begin_within(len(text), (len(entry.token) for entry in logprobs))])


def begin_within(end: int, sizes: Iterable[int]) -> int:
    """How many pieces, laid one after the other, begin before `end`."""
    count = start = 0
    for size in sizes:
        if start >= end:
            break
        count += 1
        start += size
    return count
