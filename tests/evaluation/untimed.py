"""Answers whose latency is not known."""

from dataclasses import replace
from math import isnan

from serve_app.core.types.answer import Answer


def untimed(answer: Answer | None) -> Answer:
    """Return the answer with a latency of 0 in place of NaN, which equals nothing from Python 3.13 on."""
    assert answer is not None
    assert isnan(answer.latency_s)
    return replace(answer, latency_s=0.0)
