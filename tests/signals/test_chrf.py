"""Equal to sacreBLEU, to 1e-9."""

from functools import cache
from typing import Any

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sacrebleu.metrics.chrf import CHRF

from serve_app.signals import ChrfConfig, Signal, build_signal

DEFAULT = build_signal(ChrfConfig())
TRAPS = st.text(alphabet=" .,(-)aAbBé&'\n\t\u00a0\u3000猫\ud800", max_size=25)
OPTIONS: list[dict[str, Any]] = [
    {"word_order": 2},
    {"char_order": 1},
    {"char_order": 3, "word_order": 1, "beta": 1},
    {"beta": 0},
    {"beta": 3, "lowercase": True},
    {"whitespace": True},
    {"eps_smoothing": True},
    {"eps_smoothing": True, "word_order": 2, "whitespace": True},
    {"eps_smoothing": True, "beta": 0},
    {"eps_smoothing": True, "beta": 1, "lowercase": True, "char_order": 10},
]


@cache
def built(**options: Any) -> Signal:
    return build_signal(ChrfConfig.model_validate(options))


def check(signal: Signal, metric: CHRF, first: str, second: str) -> None:
    """Check all four cells of the matrix against the reference."""
    [scores] = signal.similarities([[first, second]])
    for hypothesis, row in zip((first, second), scores.similarities, strict=True):
        expected = [metric.sentence_score(hypothesis, [reference]).score / 100 for reference in (first, second)]
        assert row == pytest.approx(expected, abs=1e-9), (first, second)


@pytest.mark.parametrize(
    ("hypothesis", "reference", "expected"),
    [
        # sacrebleu 2.6.0, chrF2, case:mixed, eff:yes, nc:6, nw:0, space:no
        ("Paris", "Paris", 1.0),
        ("Paris", "xyz", 0.0),
        ("a", "a", 1.0),
        ("the cat sat on the mat", "the cat is on the mat", 0.645779420625287),
        ("Paris.", "The capital of France is Paris.", 0.1742107542177796),
        ("猫坐在垫子上", "猫睡在垫子上", 0.37777777777777777),
    ],
)
def test_literal_values(hypothesis: str, reference: str, expected: float) -> None:
    [scores] = DEFAULT.similarities([[hypothesis, reference]])
    assert scores.similarities[0][1] == pytest.approx(expected, abs=1e-9)
    assert sacrebleu.sentence_chrf(hypothesis, [reference]).score / 100 == pytest.approx(expected, abs=1e-9)


def test_random_pairs(pairs: list[tuple[str, str]]) -> None:
    for first, second in pairs:
        check(DEFAULT, CHRF(), first, second)


def test_real_pairs(real_pairs: list[tuple[str, str]]) -> None:
    for first, second in real_pairs[::2]:
        check(DEFAULT, CHRF(), first[:600], second[:600])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options: dict[str, Any], pairs: list[tuple[str, str]]) -> None:
    for first, second in pairs[:400]:
        check(built(**options), CHRF(**options), first, second)


@given(TRAPS.filter(str.strip), TRAPS.filter(str.strip), st.sampled_from(OPTIONS))
def test_traps(first: str, second: str, options: dict[str, Any]) -> None:
    check(built(**options), CHRF(**options), first, second)


@pytest.mark.parametrize(
    "written", [{"char_order": 0}, {"word_order": -1}, {"beta": -1}, {"beta": 1.5}, {"char_order": 10**9}]
)
def test_options_that_mean_nothing(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChrfConfig.model_validate(written)
