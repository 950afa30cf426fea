import math
import random
import sys
from dataclasses import replace

import pytest

from serve_app.core.deciding.deferral import answers_needed, decide
from serve_app.core.types.answer import Generation, TokenLogprob
from serve_app.core.types.blend import Blend
from serve_app.core.types.policy import Tier
from serve_app.errors import SignalError
from serve_app.signals import BlendConfig, ChowConfig, confidence, fit_blend
from tests.core.deciding.judging import agreed

PLAIN = BlendConfig(kind="blend", agreement="rougeL", confidence="chow_avg")
CONFIDENCE = confidence(ChowConfig(kind="chow_avg"))
TIER = Tier(("a", "b"), signal="both", threshold=0.0, confidence=CONFIDENCE, blend=Blend(2.0, 0.5, -1.0))
SIMILAR = ((1.0, 0.6), (0.6, 1.0))


def reply(logprob: float | None) -> Generation:
    return Generation("x", "stop", 1, 1, None if logprob is None else (TokenLogprob("x", logprob),))


def test_weights_by_hand() -> None:
    judged = agreed(TIER, [reply(-1.0), reply(-0.2)], SIMILAR)
    # -1 + 2 x .6 + .5 x c
    assert judged.output_scores == (pytest.approx(-0.3), pytest.approx(0.1))
    assert (judged.value, judged.selected) == (pytest.approx(0.1), 1)
    assert decide(TIER, judged).reason == "agreement"


def test_logistic() -> None:
    tier = replace(TIER, blend=Blend(2.0, 0.5, -1.0, logistic=True))
    judged = agreed(tier, [reply(-1.0), reply(-0.2)], SIMILAR)
    assert judged.output_scores[0] == pytest.approx(1 / (1 + math.exp(0.3)))
    assert judged.value == pytest.approx(1 / (1 + math.exp(-0.1)))


@pytest.mark.parametrize("logistic", [False, True])
def test_without_log_probabilities_it_is_never_sure(logistic: bool) -> None:
    tier = replace(TIER, threshold=1e-9, blend=Blend(2.0, 0.5, logistic=logistic))
    judged = agreed(tier, [reply(None), reply(None)], SIMILAR)
    assert decide(tier, judged).accepted is False


@pytest.mark.parametrize("weight", [-0.5, 0.0, 0.5])
@pytest.mark.parametrize("logistic", [False, True])
def test_an_answer_without_log_probabilities_is_never_the_best(weight: float, logistic: bool) -> None:
    tier = replace(TIER, blend=Blend(2.0, weight, logistic=logistic))
    judged = agreed(tier, [reply(None), reply(-5.0)], SIMILAR)
    assert judged.output_scores[0] == -math.inf
    assert judged.selected == 1


def test_extreme_scores_do_not_overflow() -> None:
    assert Blend(1.0, 0.0, logistic=True)(-5000, 0) == 0.0
    assert Blend(1.0, 0.0, logistic=True)(5000, 0) == 1.0


def test_it_needs_two_answers_to_compare() -> None:
    assert answers_needed(TIER) == 2
    assert answers_needed(replace(TIER, blend=None, min_answers=1)) == 1


def test_fitting_finds_which_of_the_two_tells_good_from_bad() -> None:
    rng = random.Random(0)
    answers = [(rng.random(), rng.gauss(0, 1)) for _ in range(400)]
    good = [agreement > 0.5 for agreement, _ in answers]
    fitted = fit_blend(PLAIN, answers, good)
    assert fitted.logistic is True
    assert fitted.weights.agreement > 5 * abs(fitted.weights.confidence)
    rule = fitted.blend_rule()
    right = sum((rule(*answer) >= 0.5) == label for answer, label in zip(answers, good, strict=True))
    assert right > 380


def test_answers_without_confidence_are_left_out() -> None:
    answers = [(0.1, 0.0), (0.9, 1.0), (0.2, 0.1), (0.8, 0.7)]
    good = [False, True, False, True]
    fitted = fit_blend(PLAIN, answers, good)
    assert fit_blend(PLAIN, [*answers, (0.5, -math.inf)], [*good, True]) == fitted


def test_nothing_to_fit() -> None:
    with pytest.raises(SignalError, match="needs both good and bad answers; all 2 are of one kind"):
        fit_blend(PLAIN, [(0.1, 0.2), (0.3, 0.4), (0.5, -math.inf)], [True, True, False])


def test_a_fit_without_scikit_learn_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sklearn", "sklearn.linear_model"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        SignalError, match=r"Fitting a blend needs scikit-learn: pip install 'semantic-cascade\[evaluation\]'"
    ):
        fit_blend(PLAIN, [(0.1, 0.2), (0.3, 0.4)], [True, False])
