"""What the router compares itself, and what it asks the scorer for."""

from collections.abc import Sequence

import pytest

from serve_app.core.types.scores import Scores
from serve_app.deployments import inline_scorer
from serve_app.deployments.inline_scorer import InlineScorer, LexicalScorer
from serve_app.errors import SignalError
from serve_app.signals import DEFAULT_SIGNALS, SbertConfig, SignalConfig, build_signal

LEXICAL: dict[str, SignalConfig] = {name: DEFAULT_SIGNALS[name] for name in ("exact", "bleu", "rougeL", "chrf", "json")}
ANSWERS = ["the cat sat on the mat", "the cat is on the mat", ""]


class Asked:
    """A scorer far away."""

    def __init__(self) -> None:
        self.signals: list[str] = []

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        self.signals.append(signal)
        return Scores(((0.5,) * len(texts),) * len(texts))


@pytest.mark.parametrize("signal", LEXICAL)
async def test_short_answers_are_compared_here_as_the_signal_does(signal: str) -> None:
    remote = Asked()
    scores = await InlineScorer(LEXICAL, remote, 43).score(signal, ANSWERS)
    [expected] = build_signal(LEXICAL[signal]).similarities([ANSWERS])
    assert scores.similarities == expected.similarities
    assert scores.device_s > 0
    assert not remote.signals


async def test_a_signal_that_breaks_is_a_reason_to_defer(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = InlineScorer(LEXICAL, Asked(), 43)

    def broken(*_: object) -> list[Scores]:
        raise ZeroDivisionError

    monkeypatch.setattr(inline_scorer, "score_batch", broken)
    with pytest.raises(SignalError, match=r"^The scorer failed\.$"):
        await scorer.score("rougeL", ANSWERS)


@pytest.mark.parametrize(("signal", "max_characters"), [("rougeL", 42), ("rougeL", 0), ("sbert", 43), ("unknown", 43)])
async def test_others_are_asked_for(signal: str, max_characters: int) -> None:
    remote = Asked()
    scorer = InlineScorer(LEXICAL | {"sbert": SbertConfig()}, remote, max_characters)
    assert (await scorer.score(signal, ANSWERS)).similarities[0][1] == 0.5
    assert remote.signals == [signal]


async def test_the_router_compares_by_itself_in_a_thread_what_is_not_short() -> None:
    scorer = LexicalScorer({"rougeL": LEXICAL["rougeL"]}, 0)
    assert not scorer.computes_at_once("rougeL", ANSWERS)
    [expected] = build_signal(LEXICAL["rougeL"]).similarities([ANSWERS])
    assert (await scorer.score("rougeL", ANSWERS)).similarities == expected.similarities


async def test_what_would_take_the_router_too_long_it_does_not_compare() -> None:
    with pytest.raises(SignalError, match=r"^100001 characters are more than the router compares itself\.$"):
        await LexicalScorer(LEXICAL, 2000).score("exact", ["x" * 100_000, "y"])
