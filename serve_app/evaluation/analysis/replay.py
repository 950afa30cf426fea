"""Recorded answers -> decisions, by the decision core itself: what a server would do with the same answers."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np

from serve_app.config import AppConfig
from serve_app.core.agreement import Survivors, agree, confide, survivors
from serve_app.core.deferral import decide, worth_comparing
from serve_app.core.types import Agreement, Answer, Decision, Generation, Matrix, Scores, Tier
from serve_app.evaluation.analysis.similarities import Similarities
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.curves import Floats, Integers
from serve_app.signals import ChowConfig, CompositeScorer, confidence

EVERYTHING = 1e9
"""A finite threshold above every score, and with the other sign below: configs hold no infinities."""


@dataclass(frozen=True, slots=True, eq=False)
class TierScores:
    """A tier on n examples, under every threshold at once.

    `scores`: (n,), the agreement; NaN where no threshold of a config would accept, as one of -inf. `selected`: (n,),
    an index into the tier's models, -1 where there is no answer to return.
    """

    tier: Tier
    scores: Floats
    selected: Integers

    def take(self, values: Floats, otherwise: float = 0.0) -> Floats:
        """(n,): of (m, n) values of the tier's members those of the selected answers."""
        rows = np.arange(len(self.selected))
        return np.where(self.selected < 0, otherwise, values[self.selected, rows])


class Replay:
    """What the records have on some of their examples: answers, similarities, confidences.

    `members` says whose answers the similarities are of, in their order; `config` what signals' names mean.
    """

    def __init__(
        self,
        records: Records,
        rows: Sequence[int],
        members: Sequence[str],
        similarities: Mapping[str, Similarities],
        config: AppConfig,
    ) -> None:
        self.records = records
        self.rows = rows
        self.similarities = similarities
        self._places = {model: place for place, model in enumerate(members)}
        self._answers: dict[str, list[Answer | None]] = {}
        self._confidences: dict[tuple[str, float, str], Floats] = {}
        self._recorded = _Recorded(similarities)
        self._scorer = CompositeScorer(self._recorded, config.composites())

    def answers(self, model: str) -> list[Answer | None]:
        """The model's answers to the examples; their log-probabilities are not in them."""
        if model not in self._answers:
            column = self.records.answers[model]
            self._answers[model] = [column.without_logprobs(row) for row in self.rows]
        return self._answers[model]

    def confidences(self, chow: ChowConfig, model: str) -> Floats:
        """(n,): the model's confidence in each of its answers, normalised as `chow` says; NaN for a failure."""
        key = (chow.kind, chow.q, model)
        if key not in self._confidences:
            self._measure(model, [chow])
        raw = self._confidences[key]
        return np.array([chow.zscores[model].of(value) for value in raw]) if model in chow.zscores else raw

    def prepare(self, model: str, chows: Sequence[ChowConfig]) -> None:
        """Measure several confidences in one pass, since unpacking log-probabilities is what takes the time."""
        self._measure(model, [chow for chow in chows if (chow.kind, chow.q, model) not in self._confidences])

    def _measure(self, model: str, chows: Sequence[ChowConfig]) -> None:
        rules = [confidence(chow.model_copy(update={"zscores": {}})) for chow in chows]
        values = np.full((len(rules), len(self.rows)), nan)
        column = self.records.answers[model]
        for place, row in enumerate(self.rows):
            answer = column[row]
            if isinstance(answer, Generation):
                values[:, place] = [rule(model, answer) for rule in rules]
        for chow, measured in zip(chows, values, strict=True):
            self._confidences[chow.kind, chow.q, model] = measured

    def decisions(
        self, tier: Tier, chow: ChowConfig | None = None, index: Iterable[int] | None = None
    ) -> list[Decision]:
        """What the core decides on each example, or on those of `index`.

        `chow` is the tier's token-level part, where it has one.
        """
        return [decide(tier, scored) for scored in self.agreements(tier, index, chow)]

    def score(self, tier: Tier, chow: ChowConfig | None = None, index: Iterable[int] | None = None) -> TierScores:
        """The same for every threshold: a score is there where the lowest of thresholds would accept."""
        found = self.decisions(replace(tier, threshold=-EVERYTHING), chow, index)
        scores = [one.agreement if one.accepted and one.agreement is not None else nan for one in found]
        selected = [-1 if one.selected is None else one.selected for one in found]
        return TierScores(tier, np.array(scores, dtype=np.float64), np.array(selected, dtype=np.intp))

    def agreements(
        self, tier: Tier, index: Iterable[int] | None = None, chow: ChowConfig | None = None
    ) -> list[Agreement]:
        """How far the answers agree, before any threshold."""
        places = range(len(self.rows)) if index is None else index
        columns = None if chow is None else {model: self.confidences(chow, model) for model in tier.models}
        if columns is not None and tier.token_level:
            return [confide(self._alive(tier, place), _Recalled(columns, place)) for place in places]
        return asyncio.run(self._compared(tier, columns, places))

    def _alive(self, tier: Tier, place: int) -> Survivors:
        return survivors(tier, [self.answers(model)[place] for model in tier.models])

    async def _compared(
        self, tier: Tier, columns: Mapping[str, Floats] | None, places: Iterable[int]
    ) -> list[Agreement]:
        found = []
        for place in places:
            if columns is not None:
                tier = replace(tier, confidence=_Recalled(columns, place))
            alive = self._alive(tier, place)
            found.append(agree(alive, await self._matrix(alive, place)))
        return found

    async def _matrix(self, alive: Survivors, place: int) -> Matrix | None:
        """What a server's scorer would have said."""
        tier = alive.tier
        assert tier.signal is not None
        texts = worth_comparing(alive)
        if texts is None:
            return None
        members = [self._places[tier.models[i]] for i in alive.indices]
        if tier.signal in self.similarities:
            return self.similarities[tier.signal].of(place, members)
        self._recorded.at(place, members)
        return (await self._scorer.score(tier.signal, texts)).similarities


class _Recalled:
    """A `Confidence` that was measured before: of the answers to one example."""

    __slots__ = ("_columns", "_place")

    def __init__(self, columns: Mapping[str, Floats], place: int) -> None:
        self._columns = columns
        self._place = place

    def __call__(self, model: str, generation: Generation) -> float:
        return float(self._columns[model][self._place])


class _Recorded:
    """A `Scorer` of the texts of one example at a time, out of what was computed before."""

    def __init__(self, similarities: Mapping[str, Similarities]) -> None:
        self._similarities = similarities
        self._place = 0
        self._members: Sequence[int] = ()

    def at(self, place: int, members: Sequence[int]) -> None:
        self._place, self._members = place, members

    async def score(self, signal: str, texts: Sequence[str]) -> Scores:
        return Scores(self._similarities[signal].of(self._place, self._members))
