"""Token counts as endpoints report them."""

from typing import Any, NamedTuple

MOST_TOKENS = 2**53
"""The largest integer up to which floats, and so metrics, count exactly; no true count comes near."""


class TokenCounts(NamedTuple):
    """Tokens of an answer; `reasoning`, if the endpoint counts it, is a part of `completion`."""

    prompt: int
    completion: int
    reasoning: int = 0


def token_counts(usage: Any) -> TokenCounts | None:
    """Return the counts of a `usage`, or None unless prompt and completion have valid ones.

    Some endpoints count the thoughts in `total_tokens` alone; they are charged all the same.
    """
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if prompt is None or completion is None:
        return None
    reasoning = _count(_field(usage, "completion_tokens_details"), "reasoning_tokens") or 0
    hidden = (_count(usage, "total_tokens") or 0) - prompt - completion
    if hidden > 0 and reasoning in (0, hidden):
        return TokenCounts(prompt, completion + hidden, hidden)
    return TokenCounts(prompt, completion, reasoning if reasoning <= completion else 0)


def _field(fields: Any, name: str) -> Any:
    return fields.get(name) if isinstance(fields, dict) else None


def _count(fields: Any, name: str) -> int | None:
    count = _field(fields, name)
    return count if type(count) is int and 0 <= count <= MOST_TOKENS else None
