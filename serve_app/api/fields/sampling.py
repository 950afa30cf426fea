"""What the sampling options of all APIs share."""

MAX_TOKENS = 2**31 - 1
"""The limit of the engines' own counters; a model stops at the end of its context anyway."""
LEAST_TOP_P = 1e-6
"""Replaces `top_p: 0`, which vLLM and samplers of a strict sum refuse: so small a nucleus is one token as well."""


def nucleus(top_p: float | None) -> float | None:
    """Return a request's `top_p` as samplers take it."""
    return LEAST_TOP_P if top_p == 0 else top_p
