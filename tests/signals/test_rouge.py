"""Equal to rouge-score, to 1e-9."""

import sys
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import LCSseq
from rouge_score.rouge_scorer import RougeScorer

from serve_app.signals import RougeConfig, Signal, build_signal
from serve_app.signals.rouge import RougeLSignal, unicode_tokenizer

KINDS = ["rouge1", "rouge2", "rougeL"]
TRAPS = st.text(alphabet="aAbB19éßİ _-.'\n猫", max_size=30)


@cache
def built(kind: str, stemmer: bool = False, tokenize: str = "default") -> Signal:
    return build_signal(RougeConfig.model_validate({"kind": kind, "stemmer": stemmer, "tokenize": tokenize}))


@cache
def scorer(stemmer: bool) -> RougeScorer:
    return RougeScorer(KINDS, use_stemmer=stemmer)


def check(first: str, second: str, stemmer: bool = False) -> None:
    """Check all four cells of the matrix against the reference."""
    for hypothesis, i in ((first, 0), (second, 1)):
        for reference, j in ((first, 0), (second, 1)):
            expected = scorer(stemmer).score(target=reference, prediction=hypothesis)
            for kind in KINDS:
                [scores] = built(kind, stemmer).similarities([[first, second]])
                assert scores.similarities[i][j] == pytest.approx(expected[kind].fmeasure, abs=1e-9), (first, second)


@pytest.mark.parametrize(
    ("first", "second", "rouge1", "rouge2", "rougel"),
    [
        # worked by hand: 2 x shared / (words of both)
        ("the cat sat", "the cat sat", 1.0, 1.0, 1.0),
        ("the cat sat on the mat", "the cat is on the mat", 10 / 12, 6 / 10, 10 / 12),
        ("b a", "a b", 1.0, 0.0, 0.5),
        ("Paris.", "The capital of France is Paris.", 2 / 7, 0.0, 2 / 7),
        ("Paris", "paris", 1.0, 0.0, 1.0),
        ("the the the", "the", 0.5, 0.0, 0.5),
        ("猫", "猫", 0.0, 0.0, 0.0),
    ],
)
def test_literal_values(first: str, second: str, rouge1: float, rouge2: float, rougel: float) -> None:
    values = [built(kind).similarities([[first, second]])[0].similarities[0][1] for kind in KINDS]
    assert values == pytest.approx([rouge1, rouge2, rougel], abs=1e-12)
    check(first, second)


@pytest.mark.parametrize("stemmer", [False, True])
def test_random_pairs(pairs: list[tuple[str, str]], stemmer: bool) -> None:
    for first, second in pairs:
        check(first, second, stemmer)


@pytest.mark.parametrize("stemmer", [False, True])
def test_real_pairs(real_pairs: list[tuple[str, str]], stemmer: bool) -> None:
    for first, second in real_pairs[:: 3 if stemmer else 2]:
        check(first[:500], second[:500], stemmer)


@given(TRAPS.filter(str.strip), TRAPS.filter(str.strip), st.booleans())
def test_traps_of_the_tokeniser(first: str, second: str, stemmer: bool) -> None:
    check(first, second, stemmer)


def test_stemmer() -> None:
    plain, stemmed = (
        built("rouge1", stemmer).similarities([["cats running", "cat runs"]])[0].similarities[0][1]
        for stemmer in (False, True)
    )
    assert (plain, stemmed) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The cat's 3 hats!", ["the", "cat", "s", "3", "hats"]),
        ("Straße Noe\u0308l", ["strasse", "noël"]),
        ("Кошка, ёлка", ["кошка", "ёлка"]),
        ("हिन्दी है।", ["हिन्दी", "है"]),
        ("مُحَمَّد؟", ["مُحَمَّد"]),
        ("می\u200cروم", ["میروم"]),
        ("北京2024年。", ["北", "京", "2024", "年"]),
        ("カメラと本", ["カ", "メ", "ラ", "と", "本"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("고양이가 매트", ["고양이가", "매트"]),
        ("ok 👍🏽 ❤️ 👩\u200d👧", ["ok"]),
    ],
)
def test_unicode_tokens(text: str, tokens: list[str]) -> None:
    assert unicode_tokenizer()(text) == tokens


@pytest.mark.parametrize("kind", KINDS)
def test_other_scripts_count_when_asked(kind: str) -> None:
    texts = ["猫坐在垫子上", "猫睡在垫子上", "Кошка сидит на ковре", "Кошка лежит на ковре"]
    blind = built(kind).similarities([texts])[0].similarities
    seeing = built(kind, tokenize="unicode").similarities([texts])[0].similarities
    assert {value for row in blind for value in row} == {0.0}
    assert seeing[0][1] > 0.4 > seeing[0][2] == 0.0
    assert seeing[2][3] > 0.3
    assert [seeing[i][i] for i in range(4)] == [1.0] * 4


def test_unicode_is_the_default_on_plain_english(real_pairs: list[tuple[str, str]]) -> None:
    for texts in real_pairs[:200]:
        if all(text.isascii() and "_" not in text for text in texts):
            assert built("rougeL", tokenize="unicode").similarities([texts]) == built("rougeL").similarities([texts])


def test_more_words_than_code_points() -> None:
    """Past 1,114,111 words in a request a word can no longer be a character, and nothing else changes."""
    signal = RougeLSignal(str.split, LCSseq.similarity)
    first, _, second = signal.prepare(["1 2 3 4", " ".join(map(str, range(sys.maxunicode + 9))), "2 4 9"])
    assert isinstance(first, str)
    assert isinstance(second, list)
    assert signal.pair(first, second) == (4 / 7, 4 / 7)
