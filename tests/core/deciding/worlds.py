"""Random tiers whose similarities are consistent with a signal, all their answers, and orders in which they arrive."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import cos, fsum, inf, pi, sin

from hypothesis import strategies as st

from serve_app.core.deciding.agreement import agree, confide, survivors
from serve_app.core.deciding.deferral import worth_comparing
from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.core.types.policy import Agreement, Tier
from serve_app.core.types.scores import Matrix
from serve_app.core.types.signal_range import Range

LEXICAL, EXACT, COSINE = Range(0, 1), Range(0, 1, "equality"), Range(-1, 1, "angles")
FAILED = Failure("error", "Broken.")


def reply(text: str, finish_reason: str = "stop") -> Generation:
    return Generation(text, "length" if finish_reason == "length" else "stop", 1, 1)


KINDS = ("none", "equality", "angles", "tokens")


SPECIAL = st.sampled_from((0.0, 0.1, 0.25, 0.5, 0.7, 1.0))


@st.composite
def similarities(draw: st.DrawFn, kind: str) -> dict[tuple[str, str], float]:
    """Draw the similarity of every two texts; a blank text has the floor."""
    places = [draw(st.tuples(st.sampled_from((0.0, 0.1, pi / 3, pi / 2, 2.0, pi)), st.floats(0, pi))) for _ in "pqrst"]
    vectors = {text: (cos(u), sin(u) * cos(v), sin(u) * sin(v)) for text, (u, v) in zip("pqrst", places, strict=True)}

    def value(a: str, b: str) -> float:
        if " " in (a, b):
            return -1.0 if kind == "angles" else 0.0
        if a == b:
            return 1.0
        if kind == "angles":
            return max(-1.0, min(1.0, fsum(x * y for x, y in zip(vectors[a], vectors[b], strict=True))))
        return 0.0 if kind == "equality" else draw(SPECIAL | st.floats(0, 1))

    return {(a, b): value(a, b) for a, b in product("pqrst ", repeat=2)}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Tier, list[Answer], dict[tuple[str, str], float], list[int]]:
    """Draw a tier, all its answers, the similarities of every two texts, and the order of arrival."""
    n, kind = draw(st.integers(2, 5)), draw(st.sampled_from(KINDS))
    texts = [draw(st.sampled_from(("p", "q", "r", "s", "t", " "))) for _ in range(n)]
    table = draw(similarities(kind))
    answers: list[Answer] = [
        FAILED if (fate := draw(st.integers(0, 9))) == 0 else reply(text, "length" if fate == 1 else "stop")
        for text in texts
    ]
    confidences = {text: draw(st.sampled_from((0.0, -0.5, -1.0, -inf)) | st.floats(-5, 0)) for text in "pqrst "}
    models = tuple("abcde"[:n])
    tier = Tier(
        models,
        signal="any",
        agreement=draw(st.sampled_from(("max", "mean"))),
        direction=draw(st.sampled_from(("both", "hypothesis", "reference"))),
        select=draw(st.none() | st.none() | st.sampled_from(models)),
        min_answers=draw(st.integers(1, n)),
        truncated=draw(st.sampled_from(("keep", "discard"))),
        signal_range={"none": LEXICAL, "equality": EXACT, "angles": COSINE, "tokens": Range(-inf, 0)}[kind],
        confidence=(lambda _, answer: confidences[answer.text]) if kind == "tokens" else None,
    )
    value = judged(tier, answers, table).value
    near = st.sampled_from((0.0, 1e-9, -1e-9, 1e-6, -1e-6, 2e-6, 0.1, -0.1, -3.0, -3.0, -3.0))
    threshold = draw(st.floats(-1, 1) if value is None or abs(value) == inf else near.map(lambda by: value + by))
    return replace(tier, threshold=threshold), answers, table, draw(st.permutations(range(n)))


def judged(tier: Tier, answers: Sequence[Answer | None], table: dict[tuple[str, str], float]) -> Agreement:
    alive = survivors(tier, answers)
    if tier.confidence is not None:
        return confide(alive, tier.confidence)
    return agree(alive, matrix(alive.texts, table) if worth_comparing(alive) else None)


def matrix(texts: Sequence[str], table: dict[tuple[str, str], float]) -> Matrix:
    return tuple(tuple(table[a, b] for b in texts) for a in texts)
