import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve_app.core.types.scores import Scores
from serve_app.signals import DEFAULT_SIGNALS, BlendConfig, MixConfig, SignalCatalogue, VetoConfig
from serve_app.signals.composites.composite import CompositeScorer


def veto(**options: Any) -> VetoConfig:
    return VetoConfig.model_validate({"kind": "veto", "signal": "sbert", **options})


def contradict(first: str, second: str, **options: Any) -> bool:
    matrix = veto(**options).combine([((1.0, 0.9), (0.8, 1.0))], [first, second])
    assert matrix in (((1.0, 0.9), (0.8, 1.0)), ((1.0, 0.0), (0.0, 1.0)))
    return matrix[0][1] == 0


CONTRADICTIONS = [
    ("negation", "The shop is open.", "The shop is closed."),
    ("negation", "It is 5.", "It is not 5."),
    ("negation", "It is possible to fly there.", "It is impossible to fly there."),
    ("negation", "He can swim.", "He can't swim."),
    ("negation", "He didn\u2019t win the race.", "He did win the race."),
    ("negation", "Yes, it does.", "No, the law forbids that."),
    ("negation", "Prices rose in May. Nobody knows why.", "Prices fell in May."),
    ("numbers", "It is 5.", "It is 6."),
    ("numbers", "Founded in 1912", "It was founded in 1921."),
    ("numbers", "There are seven.", "There are 8."),
    ("numbers", "3.14", "3.15"),
    ("names", "Paris", "Rome"),
    ("names", "Paris is the capital.", "Lyon is the capital."),
    ("names", "It was written by Marie Curie.", "It was written by Pierre Curie."),
    ("names", "The answer is Mount Everest", "I think it is K2 in Pakistan"),
    ("choice", "(B)", "The answer is C."),
]
PARAPHRASES = [
    ("The shop is open.", "The shop is open until late."),
    ("The shop is not open.", "The shop is closed."),
    ("The shop is open.", "The shop isn't closed."),
    ("It is not possible.", "It is impossible."),
    ("No, it is closed.", "It is closed."),
    ("No.", "No, it does not."),
    ("Yes", "Yes, it does."),
    ("It costs $1,200.", "The price is 1200.00 dollars."),
    ("Five", "5"),
    ("It was founded in 1912.", "It was founded on 3 May 1912."),
    ("about 3.14", "3.14159"),
    ("Paris", "The capital of France is Paris."),
    ("William Shakespeare", "Shakespeare of Stratford wrote it."),
    ("J. K. Rowling", "Joanne Rowling"),
    ("the USA", "the United States America"),
    ("In 1912", "It was in 1912"),
    ("He went home yesterday.", "Yesterday he went home."),
    ("(B)", "B. Paris"),
    ("", "It is 5."),
    ("It is not known who wrote it.", "The author had two brothers and no sister."),
]


@pytest.mark.parametrize(("check", "first", "second"), CONTRADICTIONS)
def test_texts_that_contradict_each_other_get_the_floor(check: str, first: str, second: str) -> None:
    assert contradict(first, second)
    assert contradict(second, first)
    assert contradict(first, second, by=[check])
    other_checks = [name for name in ("numbers", "negation", "names", "choice") if name != check]
    assert not contradict(first, second, by=other_checks)


@pytest.mark.parametrize(("first", "second"), PARAPHRASES)
def test_texts_that_mean_the_same_are_compared_by_the_signal(first: str, second: str) -> None:
    assert not contradict(first, second)
    assert not contradict(second, first)


@given(st.lists(st.text(max_size=30), min_size=2, max_size=4))
def test_only_the_similarities_of_different_texts_fall(texts: list[str]) -> None:
    same = tuple(tuple(0.9 for _ in texts) for _ in texts)
    matrix = veto(floor=-1).combine([same], texts)
    for i, first in enumerate(texts):
        for j, second in enumerate(texts):
            assert matrix[i][j] in (0.9, -1)
            assert matrix[i][j] == matrix[j][i]
            assert matrix[i][j] == 0.9 or first != second


def test_a_similarity_below_the_floor_stays() -> None:
    assert veto(floor=0.5).combine([((1.0, 0.1), (0.7, 1.0))], ["5", "6"]) == ((1.0, 0.1), (0.5, 1.0))


def test_words_of_another_language_replace_the_english_ones() -> None:
    german = {"negation": ["nicht", "kein"], "antonyms": [("offen", "geschlossen")], "numbers": {"sieben": 7}}
    for first, second in (
        ("Der Laden ist offen.", "Der Laden ist nicht offen."),
        ("Der Laden ist offen.", "Der Laden ist geschlossen."),
        ("Es sind sieben.", "Es sind 8."),
    ):
        assert contradict(first, second, by=["negation", "numbers"], words=german)
    assert not contradict("Er ist da, not.", "Er ist da.", by=["negation"], words=german)


async def test_a_scorer_asks_for_the_base_signal_and_applies_the_veto() -> None:
    class Base:
        async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
            assert signal == "sbert"
            return Scores(tuple(tuple(0.95 for _ in texts) for _ in texts), flops=3.0)

    scores = await CompositeScorer(Base(), {"strict": veto()}).score("strict", ["It is 5.", "It is 6.", "It is five."])
    assert scores.similarities == ((0.95, 0.0, 0.95), (0.0, 0.95, 0.0), (0.95, 0.0, 0.95))
    assert scores.flops == 3.0


def test_a_veto_may_be_made_of_a_mix_and_be_part_of_a_blend() -> None:
    parts = [{"signal": "rouge1"}, {"signal": "exact"}]
    mix = MixConfig.model_validate({"kind": "mix", "parts": parts})
    blend = BlendConfig(kind="blend", agreement="strict", confidence="sure")
    signals = SignalCatalogue({**DEFAULT_SIGNALS, "mixed": mix, "strict": veto(signal="mixed"), "both": blend})
    assert "mixed" in signals.allowed_components(veto())
    assert "strict" not in signals.allowed_components(veto())
    assert "strict" in signals.allowed_components(blend)
    assert not {"mixed", "strict"} & set(signals.allowed_components(mix))
    assert signals.computed_for("both") == ["rouge1", "exact"]


def test_a_used_config_is_equal_to_itself_read_again_and_can_be_sent() -> None:
    used = veto()
    used.combine([((1.0, 0.9), (0.9, 1.0))], ["5", "6"])
    assert used == veto()
    assert pickle.loads(pickle.dumps(used)) == veto()


@pytest.mark.parametrize("options", [{"by": []}, {"by": ["nouns"]}, {"words": {"verbs": []}}])
def test_what_cannot_be_checked_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        veto(**options)


def test_only_the_first_names_and_numbers_of_a_long_text_are_compared() -> None:
    """All pairs of names are looked at, while other requests wait."""
    names = [f"x N{chr(65 + k // 26)}{chr(97 + k % 26)}" for k in range(120)]
    assert contradict(f"y Paris {' '.join(names)}", f"y Rome {' '.join(names)}", by=["names"])
    assert not contradict(f"{' '.join(names)} y Paris", f"{' '.join(names)} y Rome", by=["names"])
    numbers = " ".join(map(str, range(100)))
    assert not contradict(f"{numbers} 1000", f"{numbers} 1001", by=["numbers"])
