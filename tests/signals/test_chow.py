"""Literal values worked by hand, and numpy."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve_app.core.types.answer import Generation, TokenLogprob
from serve_app.errors import SignalError
from serve_app.signals import TOKEN_SIGNALS, ChowConfig, ZScore, confidence, fit_zscores

LOGPROBS = st.lists(st.floats(-100, 0), min_size=1, max_size=50)


def generation(logprobs: list[float] | None) -> Generation:
    tokens = None if logprobs is None else tuple(TokenLogprob("x", value) for value in logprobs)
    return Generation("text", "stop", 1, len(logprobs or []), tokens)


def quantile(q: float, logprobs: list[float]) -> float:
    return confidence(ChowConfig(kind="chow_quantile", q=q))("m", generation(logprobs))


def test_sum_and_average() -> None:
    answer = generation([-1.0, -0.5, -3.0])
    assert confidence(TOKEN_SIGNALS["chow_sum"])("m", answer) == -4.5
    assert confidence(TOKEN_SIGNALS["chow_avg"])("m", answer) == -1.5


@pytest.mark.parametrize(
    ("q", "expected"), [(0.0, -4.0), (0.1, -3.7), (0.25, -3.25), (0.5, -2.5), (0.75, -1.75), (0.9, -1.3), (1.0, -1.0)]
)
def test_quantiles_of_four_tokens(q: float, expected: float) -> None:
    assert quantile(q, [-2.0, -4.0, -1.0, -3.0]) == pytest.approx(expected, abs=1e-12)


@given(LOGPROBS, st.floats(0, 1))
def test_numpy_agrees(logprobs: list[float], q: float) -> None:
    answer = generation(logprobs)
    assert quantile(q, logprobs) == pytest.approx(np.quantile(logprobs, q), abs=1e-12)
    assert confidence(TOKEN_SIGNALS["chow_sum"])("m", answer) == pytest.approx(np.sum(logprobs), abs=1e-9)
    assert confidence(TOKEN_SIGNALS["chow_avg"])("m", answer) == pytest.approx(np.mean(logprobs), abs=1e-9)


@pytest.mark.parametrize("name", TOKEN_SIGNALS)
@pytest.mark.parametrize("logprobs", [None, []])
def test_nothing_to_go_by_is_never_the_best(name: str, logprobs: list[float] | None) -> None:
    assert confidence(TOKEN_SIGNALS[name])("m", generation(logprobs)) == -math.inf


@pytest.mark.parametrize("name", TOKEN_SIGNALS)
def test_an_impossible_token(name: str) -> None:
    assert confidence(TOKEN_SIGNALS[name])("m", generation([-1.0, -math.inf, -math.inf])) == -math.inf


def test_an_impossible_token_spoils_only_its_own_ranks() -> None:
    logprobs = [-math.inf, -2.0, -1.0]
    assert [quantile(q, logprobs) for q in (0.25, 0.5, 0.75, 1.0)] == [-math.inf, -2.0, -1.5, -1.0]


@pytest.mark.parametrize("name", TOKEN_SIGNALS)
def test_pickles(name: str) -> None:
    rule = confidence(TOKEN_SIGNALS[name])
    assert pickle.loads(pickle.dumps(rule))("m", generation([-1.0])) == -1.0


def test_the_default_quantile_is_the_least_certain_token() -> None:
    assert confidence(TOKEN_SIGNALS["chow_quantile"])("m", generation([-0.1, -7.0, -0.2])) == -7.0


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_q_is_a_share(q: float) -> None:
    with pytest.raises(ValidationError):
        ChowConfig(kind="chow_quantile", q=q)


def test_q_must_have_a_use() -> None:
    with pytest.raises(ValidationError, match="q has no meaning with 'chow_sum'"):
        ChowConfig(kind="chow_sum", q=0.5)


def test_zscores_make_models_comparable() -> None:
    """Chow-Avg -1 is good for a model that is at -2 on average, and bad for one at -0.5."""
    config = ChowConfig(
        kind="chow_avg", zscores={"timid": ZScore(mean=-2, std=0.5), "bold": ZScore(mean=-0.5, std=0.25)}
    )
    judge = confidence(config)
    assert (judge("timid", generation([-1.0])), judge("bold", generation([-1.0]))) == (2.0, -2.0)
    assert judge("unknown", generation([-1.0])) == -1.0
    assert judge("timid", generation(None)) == -math.inf


def test_fitting_zscores() -> None:
    examples = {
        "a": [generation([-1.0]), generation([-3.0]), generation(None), generation([-math.inf])],
        "b": [generation([-0.5, -1.5]), generation([-4.0]), generation([-4.0]), generation([-3.0])],
    }
    fitted = fit_zscores(ChowConfig(kind="chow_avg"), examples)
    assert fitted.zscores["a"] == ZScore(mean=-2.0, std=1.0)  # -1 and -3; the others have no finite confidence
    assert fitted.zscores["b"] == ZScore(mean=-3.0, std=math.sqrt((4 + 1 + 1 + 0) / 4))  # -1, -4, -4, -3
    assert fit_zscores(fitted, examples) == fitted  # measured on raw confidences, whatever was fitted before


@pytest.mark.parametrize("logprobs", [[], [[-1.0]], [[-1.0], [-1.0]]])
def test_nothing_to_fit(logprobs: list[list[float]]) -> None:
    with pytest.raises(SignalError, match="Too few different chow_sum confidences of 'a' to normalise by"):
        fit_zscores(ChowConfig(kind="chow_sum"), {"a": [generation(row) for row in logprobs]})


@given(st.lists(st.lists(st.floats(-50, 0), min_size=1, max_size=9), min_size=3, max_size=30))
def test_fitted_confidences_are_standard(answers: list[list[float]]) -> None:
    examples = [generation(answer) for answer in answers]
    raw = [np.mean(answer) for answer in answers]
    if np.std(raw) < 1e-6:
        return
    judge = confidence(fit_zscores(ChowConfig(kind="chow_avg"), {"a": examples}))
    scores = [judge("a", example) for example in examples]
    assert np.mean(scores) == pytest.approx(0, abs=1e-6)
    assert np.std(scores) == pytest.approx(1, abs=1e-6)
