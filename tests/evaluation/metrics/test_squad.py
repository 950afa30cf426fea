import pytest

from serve_app.evaluation.metrics.squad import accuracy, exact_match, f1, normalize, triviaqa_em, triviaqa_f1


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The  Apple, a day!", "apple day"),
        ("An a the THE", ""),
        ("M*A*S*H*", "mash"),
        ("it's the U.S.A.", "its usa"),
        ("theatre and another", "theatre and another"),
        ("well-known", "wellknown"),
        ("the-end", "theend"),  # punctuation goes before articles do
        ("«Où est l\u2019école»\u00a0?", "«où est l\u2019école»"),  # ASCII punctuation only
        ("a\tb\nc", "b c"),
        (" 1,000.50 ", "100050"),
    ],
)
def test_the_official_normalisation(text: str, normalized: str) -> None:
    assert normalize(text) == normalized


@pytest.mark.parametrize(
    ("answer", "reference", "exact", "overlap", "contained"),
    [
        ("Paris", "Paris", 1, 1, 1),
        ("the paris.", "Paris!", 1, 1, 1),
        ("Paris, France", "Paris", 0, 2 / 3, 1),
        ("It is Paris.", "Paris", 0, 2 * (1 / 3) / (1 / 3 + 1), 1),
        ("parisian", "Paris", 0, 0, 0),
        ("the party", "art", 0, 0, 0),
        ("New York Jets", "New Jets", 0, 0.8, 0),
        ("b b c", "b b b", 0, 2 / 3, 0),
        ("", "Paris", 0, 0, 0),
        ("the", "a", 1, 0, 0),  # in version 1.1 nothing in common is 0 even where nothing is left
        ("anything", "The", 0, 0, 0),
    ],
)
def test_one_reference(answer: str, reference: str, exact: float, overlap: float, contained: float) -> None:
    assert exact_match(answer, reference) == exact
    assert f1(answer, reference) == pytest.approx(overlap, abs=1e-12)
    assert accuracy(answer, reference) == contained


@pytest.mark.parametrize(
    ("answer", "reference", "squad", "trivia"),
    [
        ("Jean-Paul", "jean paul", (0.0, 0.0), (1.0, 1.0)),  # SQuAD: "jeanpaul"
        ("O\u2019Neill", "O'Neill", (0.0, 0.0), (1.0, 1.0)),  # the curly quote is punctuation only to TriviaQA
        ("new_york", "new york", (0.0, 0.0), (1.0, 1.0)),
        ("The Beatles!", "beatles", (1.0, 1.0), (1.0, 1.0)),
    ],
)
def test_triviaqa_normalises_in_its_own_way(
    answer: str, reference: str, squad: tuple[float, float], trivia: tuple[float, float]
) -> None:
    assert (exact_match(answer, reference), f1(answer, reference)) == squad
    assert (triviaqa_em(answer, reference), triviaqa_f1(answer, reference)) == trivia
