"""Which requests need no decision, because those like them were nearly always deferred, or nearly always accepted."""

from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.core.deciding.agreement import resolved
from serve_app.core.types.outcome import Precheck
from serve_app.core.types.prompt import Message, Prompt

LONGEST_TEXT = 8000
"""Longest text of a prompt for the look-up of similar ones: encoders read less."""


@dataclass(frozen=True, slots=True)
class SkipPolicy:
    """When the cascade is skipped: by the past requests that are most similar, the neighbours.

    If at least the share `defer_above` of `k` of them was deferred, the target is asked alone; if at least the share
    `accept_above` was not, `member` is. A neighbour counts if its cosine is at least `min_similarity`.
    """

    k: int
    defer_above: float | None
    accept_above: float | None
    member: str
    min_similarity: float


def asked_text(prompt: Prompt) -> str | None:
    """Return the text for the look-up of similar prompts: the raw text, or the user's last message.

    None if the prompt has more to it than its text (images, tools), or no text.
    """
    if prompt.tools or any(message.images or message.tool_calls for message in prompt.messages):
        return None
    text = _last_said(prompt.messages) if prompt.text is None else prompt.text
    return text[:LONGEST_TEXT] if text.strip() else None


def _last_said(messages: Sequence[Message]) -> str:
    """Return the content of the last message of a user, the empty text if there is none."""
    return next((message.content for message in reversed(messages) if message.role == "user"), "")


def deferred(scores: Sequence[float], thresholds: Sequence[float]) -> bool:
    """Return whether every tier before the target defers a request whose answers have these agreements.

    An agreement of NaN, of answers that no threshold accepts, defers.
    """
    return not any(score >= resolved(threshold) for score, threshold in zip(scores, thresholds, strict=True))


def check(policy: SkipPolicy, similarities: Sequence[float], flags: Sequence[bool]) -> Precheck:
    """Decide by a request's `k` nearest neighbours: their similarities, and which of them were deferred.

    Fewer than `k` that are similar enough decide nothing: the cascade runs.
    """
    like = [flag for similarity, flag in zip(similarities, flags, strict=True) if similarity >= policy.min_similarity]
    if len(like) < policy.k:
        return Precheck(None, neighbours=len(like))
    share = sum(like) / len(like)
    if policy.defer_above is not None and share >= policy.defer_above:
        return Precheck("deferred", len(like), share)
    if policy.accept_above is not None and like.count(False) / len(like) >= policy.accept_above:
        return Precheck("accepted", len(like), share, policy.member)
    return Precheck(None, len(like), share)
