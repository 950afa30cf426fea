from collections.abc import Sequence
from math import isnan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve_app.core.types.scores import Scores
from serve_app.errors import SignalError
from serve_app.signals import ByLengthConfig, MixConfig
from serve_app.signals.composites.composite import CompositeScorer

CALM = ((1.0, 0.2), (0.4, 1.0))
WILD = ((1.0, -0.5), (0.5, 1.0))


class Plain:
    """A scorer of two made-up signals that notes what it was asked."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        self.requests.append(f"{signal} since {since}" if since else signal)
        if signal == "broken":
            raise SignalError("The signal broke.")
        return Scores({"calm": CALM, "wild": WILD}[signal], flops=2.0, device_s=0.5)


def mixed(*parts: dict[str, Any]) -> MixConfig:
    return MixConfig.model_validate({"kind": "mix", "parts": parts})


def by_length(*cases: tuple[str, int | None]) -> ByLengthConfig:
    rows = [{"signal": signal, "max_characters": limit} for signal, limit in cases]
    return ByLengthConfig.model_validate({"kind": "by_length", "cases": rows})


MIX = mixed({"signal": "calm", "weight": 3}, {"signal": "wild", "low": -1, "high": 1})


async def test_parts_compute_new_pairs_only_and_a_mix_of_nan_is_nan() -> None:
    plain = Plain()
    scores = await CompositeScorer(plain, {"both": MIX}).score("both", ["a", "b"], since=1)
    assert plain.requests == ["calm since 1", "wild since 1"]
    assert isnan(scores.similarities[0][0])
    assert scores.similarities[0][1] == pytest.approx(0.2125)


async def test_a_mix_is_the_weighted_mean_of_normalised_values() -> None:
    scores = await CompositeScorer(Plain(), {"both": MIX}).score("both", ["a", "b"])
    # (3 x .2 + (-.5 + 1) / 2) / 4 and (3 x .4 + (.5 + 1) / 2) / 4
    assert scores.similarities == ((1.0, pytest.approx(0.2125)), (pytest.approx(0.4875), 1.0))
    assert (scores.flops, scores.device_s) == (4.0, 1.0)


def test_what_lies_outside_the_range_is_clipped() -> None:
    narrow = mixed({"signal": "calm", "low": 0.3, "high": 0.35}, {"signal": "wild", "low": 0, "high": 0.5})
    assert narrow.combine([CALM, WILD], ["a", "b"]) == ((1.0, 0.0), (1.0, 1.0))


@given(st.lists(st.floats(-10, 10), min_size=4, max_size=4), st.floats(0.01, 9), st.floats(0.01, 9))
def test_a_mix_stays_between_0_and_1(values: list[float], first: float, second: float) -> None:
    config = mixed({"signal": "x", "weight": first}, {"signal": "y", "weight": second, "low": -1})
    matrix = ((values[0], values[1]), (values[2], values[3]))
    assert all(0 <= value <= 1 + 1e-12 for row in config.combine([matrix, matrix], ["a", "b"]) for value in row)


@pytest.mark.parametrize(
    ("texts", "requests"),
    [(["Paris", "Rome"], ["calm"]), (["Paris", "It is Rome."], ["wild"]), (["  Paris     ", ""], ["calm"])],
)
async def test_the_longest_answer_decides(texts: list[str], requests: list[str]) -> None:
    plain = Plain()
    await CompositeScorer(plain, {"either": by_length(("calm", 5), ("wild", None))}).score("either", texts)
    assert plain.requests == requests


async def test_a_case_may_be_a_mix() -> None:
    plain = Plain()
    composites = {"either": by_length(("calm", 5), ("both", None)), "both": MIX}
    await CompositeScorer(plain, composites).score("either", ["It is Paris.", "Rome"])
    assert plain.requests == ["calm", "wild"]


async def test_other_signals_go_through() -> None:
    assert (await CompositeScorer(Plain(), {"both": MIX}).score("calm", ["a", "b"])).similarities == CALM


async def test_a_part_that_fails_is_an_error() -> None:
    broken = mixed({"signal": "calm"}, {"signal": "broken"})
    with pytest.raises(SignalError, match="The signal broke"):
        await CompositeScorer(Plain(), {"both": broken}).score("both", ["a", "b"])


@pytest.mark.parametrize(
    "cases",
    [
        [("a", 5), ("b", 9)],
        [("a", None), ("b", None)],
        [("a", 9), ("b", 5), ("c", None)],
        [("a", 5), ("b", 5), ("c", None)],
    ],
)
def test_cases_must_rise_and_end_open(cases: list[tuple[str, int | None]]) -> None:
    with pytest.raises(ValidationError, match="must rise from case to case, and be null for the last case only"):
        by_length(*cases)


def test_a_range_must_not_be_empty() -> None:
    with pytest.raises(ValidationError, match=r"low \(1\) must be less than high \(1\)"):
        mixed({"signal": "calm", "low": 1}, {"signal": "wild"})
