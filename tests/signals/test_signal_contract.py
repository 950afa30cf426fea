"""What every signal promises, whatever it measures. A new signal is one line in SIGNALS."""

import random
import unicodedata
from collections.abc import Callable
from itertools import product
from math import isnan

import pytest

from serve_app.core.types.scores import Matrix
from serve_app.signals import DEFAULT_SIGNALS, Signal

SIGNALS = [
    "exact",
    "bleu",
    "rouge1",
    "rouge2",
    "rougeL",
    "chrf",
    "json",
    pytest.param("sbert", marks=pytest.mark.models),
    "bleurt",  # a tiny random model, computed in its own environment
]
TEXTS = [
    "The capital of France is Paris.",
    "Paris is the capital of France, I believe.",
    "I do not know.",
    "Paris",
    "42",
    "Zażółć gęślą jaźń",
    "القطة تجلس على السجادة",
    "猫坐在垫子上。",
    "👩\u200d👩\u200d👧 ❤️",
    "a\ud800b",  # a lone surrogate, as broken JSON carries it
    "?!",
]
NO_ASCII_WORD = {"القطة تجلس على السجادة", "猫坐在垫子上。", "👩\u200d👩\u200d👧 ❤️", "?!"}
SEES_NOTHING = {"rouge1": NO_ASCII_WORD, "rouge2": NO_ASCII_WORD | {"Paris", "42"}, "rougeL": NO_ASCII_WORD}
"""Texts that differ even from themselves: no token at all, or (ROUGE-2) a single one."""


@pytest.fixture(params=SIGNALS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def signal(name: str, signal_named: Callable[[str], Signal]) -> Signal:
    return signal_named(name)


def matrix(signal: Signal, *texts: str) -> Matrix:
    [scores] = signal.similarities([texts])
    return scores.similarities


def close(first: Matrix, second: Matrix) -> bool:
    return [len(row) for row in first] == [len(row) for row in second] and all(
        a == pytest.approx(b, abs=1e-5) for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_shape_and_range(signal: Signal, n: int) -> None:
    values = matrix(signal, *TEXTS[:n])
    assert isinstance(values, tuple)
    assert [len(row) for row in values] == [n] * n
    assert all(type(value) is float and signal.floor <= value <= 1 for row in values for value in row)


def test_values_are_within_the_limits_of_the_config(name: str, signal: Signal) -> None:
    limits = DEFAULT_SIGNALS[name].limits
    assert (limits is None) == (name == "bleurt")
    if limits is not None:
        values = [value for row in matrix(signal, *TEXTS, TEXTS[0], "", " ") for value in row]
        assert limits.low == signal.floor == min(values)
        assert limits.high == 1
        assert limits.relation != "equality" or set(values) == {0, 1}
        assert max(values) <= limits.high


@pytest.mark.parametrize("since", [1, 2, 4])
def test_pairs_that_were_compared_before_are_nan_and_all_others_as_ever(name: str, signal: Signal, since: int) -> None:
    texts = [TEXTS[0], TEXTS[1], "", TEXTS[0], TEXTS[3]]
    full = matrix(signal, *texts)
    [later, whole] = signal.similarities([texts, texts], [since, 0])
    assert close(whole.similarities, full)
    for i, j in product(range(len(texts)), repeat=2):
        value = later.similarities[i][j]
        if max(i, j) < since:
            assert isnan(value)
        else:
            assert value == pytest.approx(full[i][j], abs=1e-6 if name in ("sbert", "bleurt") else 0)


def test_no_request_and_empty_requests(signal: Signal) -> None:
    assert signal.similarities([]) == []
    assert [scores.similarities for scores in signal.similarities([[], [""], []])] == [(), ((signal.floor,),), ()]


def test_similar_texts_are_more_similar_than_different_ones(name: str, signal: Signal) -> None:
    values = matrix(signal, *TEXTS[:3])
    assert name in {"exact", "json", "bleurt"} or values[0][1] > values[0][2]


def test_diagonal_is_one_where_the_signal_sees_anything(name: str, signal: Signal) -> None:
    values = matrix(signal, *TEXTS)
    blind = SEES_NOTHING.get(name, set())
    expected = [0.0 if text in blind else 1.0 for text in TEXTS]
    assert [values[i][i] for i in range(len(TEXTS))] == pytest.approx(expected, abs=1e-6)


def test_identical_texts_have_the_value_of_the_diagonal(name: str, signal: Signal) -> None:
    for text in TEXTS:
        values = matrix(signal, text, "something else", text)
        # BLEURT's diagonal is 1 by definition; two equal answers are compared for real.
        expected = values[0][2] if name == "bleurt" else values[0][0]
        assert [values[0][2], values[2][0]] == pytest.approx([expected] * 2, abs=1e-6)


def test_symmetric_if_it_says_so(name: str, signal: Signal) -> None:
    values = matrix(signal, *TEXTS)
    transposed = tuple(zip(*values, strict=True))
    assert (values == transposed) == signal.symmetric
    assert signal.symmetric == (name not in {"bleu", "chrf", "bleurt"})


@pytest.mark.parametrize("empty", ["", " ", "\n\t ", "\u00a0\u2003\u3000"])
def test_pairs_with_an_empty_text_get_the_floor(signal: Signal, empty: str) -> None:
    values = matrix(signal, TEXTS[0], empty, TEXTS[1], "")
    full = matrix(signal, TEXTS[0], TEXTS[1])
    floor = signal.floor
    assert close(
        values,
        (
            (full[0][0], floor, full[0][1], floor),
            (floor,) * 4,
            (full[1][0], floor, full[1][1], floor),
            (floor,) * 4,
        ),
    )


@pytest.mark.parametrize("text", ["Noël à Gdańsk, déjà vu", "हिन्दी", "شُكْرًا"])
def test_composed_and_decomposed_texts_can_be_compared(name: str, signal: Signal, text: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    values = matrix(signal, composed, decomposed)
    if name == "exact":
        assert values[0][1] == 1.0
    assert signal.floor <= values[0][1] <= 1


def test_a_very_long_text(signal: Signal) -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=3)) for _ in range(5000)]
    values = matrix(signal, " ".join(words), " ".join(words[:4500]), "short")
    assert values[0][0] == pytest.approx(1.0)
    assert all(signal.floor <= value <= 1 for row in values for value in row)


def test_two_thousand_texts_in_one_call(signal: Signal, pairs: list[tuple[str, str]]) -> None:
    # Their number is the point, so they are short.
    requests = [[text[:24] for text in (*pairs[i], *pairs[i + 1])] for i in range(0, 1000, 2)]
    scored = signal.similarities(requests)
    assert [len(scores.similarities) for scores in scored] == [4] * 500


def test_results_do_not_depend_on_the_batch(signal: Signal, pairs: list[tuple[str, str]]) -> None:
    requests = [[*pairs[i], pairs[i + 1][0], ""][: 1 + i % 4] for i in range(60)]
    order = random.Random(0).sample(range(60), 60)
    together = signal.similarities([requests[i] for i in order])
    alone = [signal.similarities([requests[i]])[0] for i in order]
    assert all(close(a.similarities, b.similarities) for a, b in zip(together, alone, strict=True))


def test_permuted_texts_give_the_permuted_matrix(signal: Signal) -> None:
    order = random.Random(1).sample(range(len(TEXTS)), len(TEXTS))
    values, permuted = matrix(signal, *TEXTS), matrix(signal, *(TEXTS[i] for i in order))
    assert close(permuted, tuple(tuple(values[i][j] for j in order) for i in order))


def test_work_is_charged_to_models_only(name: str, signal: Signal) -> None:
    [scores, nothing] = signal.similarities([TEXTS[:3], ["", " "]])
    assert (scores.flops > 0) == (name in {"sbert", "bleurt"})
    assert (nothing.flops, scores.device_s) == (0.0, 0.0)
