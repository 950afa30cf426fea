"""Which answers the router compares itself, by signals that need no model: short ones; most if a scorer fails."""

from collections.abc import Sequence

LONGEST = 100_000
"""Characters of answers that the router compares itself if it must: chrf takes a thread .2 s for them, others less."""


def characters(texts: Sequence[str]) -> int:
    """Return the length of all texts together."""
    return sum(map(len, texts))


def compared_at_once(texts: Sequence[str], at_once: int) -> bool:
    """Return whether the router compares texts itself before it asks a scorer: up to `at_once` characters; 0: never."""
    return at_once > 0 and characters(texts) <= at_once


def compared_if_needed(texts: Sequence[str]) -> bool:
    """Return whether the router compares texts itself if the scorer fails."""
    return characters(texts) <= LONGEST
