"""Stop strings, matched on the text as it grows."""

from collections.abc import Iterable, Sequence

from serve_app.core.types.answer import TokenLogprob


class StopMatcher:
    """Passes text through until one of `stops` appears; the stop string itself is never shown.

    Text that may be the beginning of a stop string is held back until it is clear that it is not.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._buffer = ""
        self.stopped = False

    def feed(self, piece: str) -> str:
        """Take in `piece` and return the text that is certain to be shown."""
        if not self._stops:
            return piece
        text = self._buffer + piece
        positions = [position for position in map(text.find, self._stops) if position >= 0]
        if positions:
            self.stopped = True
            self._buffer = ""
            return text[: min(positions)]
        end = len(text) - self._longest_beginning(text)
        self._buffer = text[end:]
        return text[:end]

    def flush(self) -> str:
        """Return what was held back, once no more text comes."""
        text, self._buffer = self._buffer, ""
        return text

    def _longest_beginning(self, text: str) -> int:
        """Return the length of the longest suffix of `text` that is a prefix of a stop string."""
        longest = max(map(len, self._stops)) - 1
        for size in range(min(longest, len(text)), 0, -1):
            end = text[-size:]
            if any(stop.startswith(end) for stop in self._stops):
                return size
        return 0


def within(text: str, logprobs: Sequence[TokenLogprob]) -> tuple[TokenLogprob, ...]:
    """Return the entries of the tokens that begin within `text`, without those of a stop string."""
    return tuple(logprobs[: begin_within(len(text), (len(entry.token) for entry in logprobs))])


def begin_within(end: int, sizes: Iterable[int]) -> int:
    """Return how many pieces of these sizes, laid end to end, begin before `end`."""
    count = start = 0
    for size in sizes:
        if start >= end:
            break
        count += 1
        start += size
    return count
