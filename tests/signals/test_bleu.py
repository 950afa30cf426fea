"""Equal to sacreBLEU, to 1e-9."""

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp

from serve_app.signals import BleuConfig, build_signal

DEFAULT = build_signal(BleuConfig())
TRAPS = st.text(alphabet=" .,-059aBé&;'\"<>\n\t\u00a0\u3000猫($/", max_size=25)


def ours(first: str, second: str) -> tuple[float, float]:
    [scores] = DEFAULT.similarities([[first, second]])
    return scores.similarities[0][1], scores.similarities[1][0]


def reference(hypothesis: str, reference_text: str, **options: object) -> float:
    return min(1.0, max(0.0, sacrebleu.sentence_bleu(hypothesis, [reference_text], **options).score / 100))


@pytest.mark.parametrize(
    ("hypothesis", "reference_text", "expected"),
    [
        # sacrebleu 2.6.0, tok:13a, smooth:exp, eff:yes
        ("Paris", "Paris", 1.0),
        ("Paris", "London", 0.0),
        ("the cat sat on the mat", "the cat sat on the mat", 1.0),
        ("the cat sat on the mat", "the cat is on the mat", 0.3799178428257963),
        ("the cat is on the mat", "the cat sat on a mat today", 0.16341219448835542),
        ("Paris.", "The capital of France is Paris.", 0.08208499862389884),
        ("the the the the", "the cat", 0.1597357760615681),
    ],
)
def test_literal_values(hypothesis: str, reference_text: str, expected: float) -> None:
    assert ours(hypothesis, reference_text)[0] == pytest.approx(expected, abs=1e-9)


def test_random_pairs(pairs: list[tuple[str, str]]) -> None:
    for first, second in pairs:
        expected = (reference(first, second), reference(second, first))
        assert ours(first, second) == pytest.approx(expected, abs=1e-9), (first, second)


def test_real_pairs(real_pairs: list[tuple[str, str]]) -> None:
    for first, second in real_pairs:
        expected = (reference(first, second), reference(second, first))
        assert ours(first, second) == pytest.approx(expected, abs=1e-9), (first, second)


@given(TRAPS.filter(str.strip), TRAPS.filter(str.strip))
def test_traps_of_the_tokeniser(first: str, second: str) -> None:
    assert ours(first, second) == pytest.approx((reference(first, second), reference(second, first)), abs=1e-9)
    [[itself]] = DEFAULT.similarities([[first]])[0].similarities
    assert itself == pytest.approx(reference(first, first), abs=1e-9)


@pytest.mark.parametrize("tokenize", ["13a", "intl", "zh", "char", "none"])
@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize(
    ("smoothing", "value"),
    [("exp", None), ("none", None), ("floor", None), ("floor", 0.0), ("floor", 0.3), ("add-k", None), ("add-k", 2.5)],
)
def test_options(
    tokenize: str, smoothing: str, value: float | None, lowercase: bool, pairs: list[tuple[str, str]]
) -> None:
    config = BleuConfig.model_validate(
        {"tokenize": tokenize, "smoothing": smoothing, "smoothing_value": value, "lowercase": lowercase}
    )
    sample = pairs[:: 1 if lowercase else 2][:80]
    options = {"tokenize": tokenize, "smooth_method": smoothing, "smooth_value": value, "lowercase": lowercase}
    for (first, second), scores in zip(sample, build_signal(config).similarities(sample), strict=True):
        expected = [[reference(a, b, **options) for b in (first, second)] for a in (first, second)]
        for row, expected_row in zip(scores.similarities, expected, strict=True):
            assert row == pytest.approx(expected_row, abs=1e-9), (first, second)


@pytest.mark.parametrize("tokenize", ["13a", "intl", "zh", "char", "none"])
def test_no_text_is_kept(tokenize: str) -> None:
    signal = build_signal(BleuConfig.model_validate({"tokenize": tokenize}))
    kinds = [type(BLEU(tokenize=tokenize).tokenizer), TokenizerRegexp]
    caches = [kind.__call__ for kind in kinds if tokenize != "none"]
    before = [cache.cache_info().currsize for cache in caches]
    signal.similarities([["a secret answer, longer than any word", "猫坐在垫子上" * 10]])
    assert all(cache.cache_info().currsize <= size for cache, size in zip(caches, before, strict=True))


def test_smoothing_value_must_have_a_use() -> None:
    with pytest.raises(ValidationError, match="smoothing_value has no meaning with smoothing 'exp'"):
        BleuConfig(smoothing_value=0.5)
