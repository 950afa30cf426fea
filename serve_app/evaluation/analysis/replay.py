"""Recorded answers -> decisions, by the decision core itself: what a server would do with the same answers."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np

from serve_app.config import AppConfig
from serve_app.core.deciding.agreement import Survivors, agree, compared, confide, survivors
from serve_app.core.deciding.deferral import decide, worth_comparing
from serve_app.core.types.answer import Answer, Generation
from serve_app.core.types.policy import Agreement, Decision, Tier
from serve_app.core.types.prompt import Prompt
from serve_app.core.types.scores import Matrix, Scores
from serve_app.core.views.view import View
from serve_app.evaluation.analysis.similarities import Similarities, measure
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.curves import Floats, Integers
from serve_app.signals import ChowConfig, CompositeScorer, SignalConfig, confidence

EVERYTHING = 1e9
"""A finite threshold above every score; negated, one below every score. Configs hold no infinities."""


@dataclass(frozen=True, slots=True, eq=False)
class TierScores:
    """A tier on n examples, under every threshold at once.

    `scores`: (n,), the agreement; NaN if no threshold of a config would accept, as for a score of -inf. `selected`:
    (n,), an index into the tier's models, -1 if there is no answer to return. Examples that were not scored have NaN
    and -1.
    """

    tier: Tier
    scores: Floats
    selected: Integers

    def take(self, values: Floats, otherwise: float = 0.0) -> Floats:
        """Return the values of the selected answers, (n,), from the (m, n) values of the tier's members."""
        columns = np.arange(len(self.selected))
        return np.where(self.selected < 0, otherwise, values[self.selected, columns])


class Replay:
    """The records of n examples, decided by the core: answers, similarities, confidences.

    `rows`: which of the records' examples the n are; nothing else refers to the records' own numbering. `members`:
    the models whose answers the similarities compare. `config`: what the names of signals mean. `similarities`: for
    each view of a tier and each plain signal those of the texts that the view shows.
    """

    def __init__(
        self,
        records: Records,
        rows: Sequence[int],
        members: Sequence[str],
        config: AppConfig,
    ) -> None:
        self.similarities: dict[View | None, dict[str, Similarities]] = {}
        self._records = records
        self._rows = rows
        self._members = members
        self._answers: dict[str, list[Answer]] = {}
        self._texts: dict[tuple[str, View | None], list[str]] = {}
        self._confidences: dict[tuple[str, float, str], Floats] = {}
        self._interpret(config)

    def _interpret(self, config: AppConfig) -> None:
        self._recorded = _Recorded()
        self._scorer = CompositeScorer(self._recorded, config.composites())

    def with_config(self, config: AppConfig) -> "Replay":
        """Return a replay of the same answers under a config whose signals of several parts may differ.

        What was measured is shared: it is of plain signals, and of confidences before their normalisation.
        """
        replay = Replay(self._records, self._rows, self._members, config)
        replay.similarities, replay._texts = self.similarities, self._texts
        replay._answers, replay._confidences = self._answers, self._confidences
        return replay

    def answers(self, model: str) -> list[Answer]:
        """Return the model's n answers, without their log-probabilities."""
        if model not in self._answers:
            column = (self._records.answers[model].without_logprobs(row) for row in self._rows)
            self._answers[model] = [answer for answer in column if answer is not None]
        return self._answers[model]

    def prompts(self) -> list[Prompt]:
        """Return the n prompts that the models were asked."""
        return [Prompt(self._records.messages(row)) for row in self._rows]

    def texts(self, model: str, view: View | None) -> list[str]:
        """Return the texts of the model's n answers that a view compares; the empty text for a failure."""
        if (model, view) not in self._texts:
            self._texts[model, view] = [compared(answer, view) for answer in self.answers(model)]
        return self._texts[model, view]

    def measure(
        self, signals: Mapping[str, SignalConfig], views: Iterable[View | None], processes: int | None = None
    ) -> None:
        """Compute the similarities of all members' answers by every signal, as each of the views shows them.

        Raises `SignalError` and `WeightsError` if a signal cannot be computed.
        """
        for view in views:
            columns = [self.texts(model, view) for model in self._members]
            self.similarities[view] = measure(signals, list(zip(*columns, strict=True)), processes)

    def generations(self, model: str, index: Iterable[int]) -> list[Generation]:
        """Return the model's answers to the examples `index` with their log-probabilities, without its failures."""
        column = self._records.answers[model]
        answers = (column[self._rows[k]] for k in index)
        return [answer for answer in answers if isinstance(answer, Generation)]

    def has_logprobs(self, model: str) -> bool:
        """Return whether any of the model's answers has log-probabilities."""
        column = self._records.answers[model]
        return any(column.logprobs(row) for row in self._rows)

    def confidences(self, chow: ChowConfig, model: str) -> Floats:
        """Return the model's confidence in each answer, shape (n,), normalised as `chow` says; NaN for a failure."""
        self.prepare(model, [chow])
        raw = self._confidences[chow.kind, chow.q, model]
        return np.array([chow.zscores[model].of(value) for value in raw]) if model in chow.zscores else raw

    def prepare(self, model: str, chows: Sequence[ChowConfig]) -> None:
        """Measure several confidences in one pass, since unpacking log-probabilities is what takes the time."""
        missing = [chow for chow in chows if (chow.kind, chow.q, model) not in self._confidences]
        if not missing:
            return
        rules = [confidence(chow.model_copy(update={"zscores": {}})) for chow in missing]
        values = np.full((len(rules), len(self._rows)), nan)
        column = self._records.answers[model]
        for k, row in enumerate(self._rows):
            answer = column[row]
            if isinstance(answer, Generation):
                values[:, k] = [rule(model, answer) for rule in rules]
        for chow, measured in zip(missing, values, strict=True):
            self._confidences[chow.kind, chow.q, model] = measured

    def decisions(
        self, tier: Tier, chow: ChowConfig | None = None, index: Iterable[int] | None = None
    ) -> list[Decision]:
        """Return what the core decides on each of the n examples, or on those of `index`.

        `chow` is the tier's token-level part, if it has one.
        """
        return [decide(tier, agreement) for agreement in self.agreements(tier, index, chow)]

    def score(self, tier: Tier, chow: ChowConfig | None = None, index: Iterable[int] | None = None) -> TierScores:
        """Score the examples of `index` (default: all) for every threshold at once.

        An example has a score if the lowest threshold of a config would accept it.
        """
        examples = np.arange(len(self._rows)) if index is None else np.fromiter(index, dtype=np.intp)
        decisions = self.decisions(replace(tier, threshold=-EVERYTHING), chow, examples)
        scores, selected = np.full(len(self._rows), nan), np.full(len(self._rows), -1, dtype=np.intp)
        scores[examples] = [
            decision.agreement if decision.accepted and decision.agreement is not None else nan
            for decision in decisions
        ]
        selected[examples] = [-1 if decision.selected is None else decision.selected for decision in decisions]
        return TierScores(tier, scores, selected)

    def agreements(
        self, tier: Tier, index: Iterable[int] | None = None, chow: ChowConfig | None = None
    ) -> list[Agreement]:
        """Return how far the answers to each example agree, before any threshold."""
        examples = range(len(self._rows)) if index is None else index
        columns = None if chow is None else {model: self.confidences(chow, model) for model in tier.models}
        if columns is not None and tier.token_level:
            return [confide(self._survivors(tier, k), Recalled(columns, k)) for k in examples]
        return asyncio.run(self._compared(tier, columns, examples))

    def compared_texts(self, tier: Tier, k: int) -> Sequence[str]:
        """Return what the tier's signal sees of the answers to example k that are compared."""
        return self._survivors(tier, k).texts

    def _survivors(self, tier: Tier, k: int) -> Survivors:
        texts = () if tier.token_level else [self.texts(model, tier.compare)[k] for model in tier.models]
        return survivors(tier, [self.answers(model)[k] for model in tier.models], texts)

    async def _compared(
        self, tier: Tier, columns: Mapping[str, Floats] | None, examples: Iterable[int]
    ) -> list[Agreement]:
        agreements = []
        for k in examples:
            if columns is not None:
                tier = replace(tier, confidence=Recalled(columns, k))
            alive = self._survivors(tier, k)
            agreements.append(agree(alive, await self._matrix(alive, k)))
        return agreements

    async def _matrix(self, alive: Survivors, k: int) -> Matrix | None:
        """Return what a server's scorer would have answered, or None if too few answers survive to be compared."""
        tier = alive.tier
        assert tier.signal is not None
        texts = worth_comparing(alive)
        if texts is None:
            return None
        return await self.compare(tier.signal, tier.compare, k, [tier.models[i] for i in alive.indices], texts)

    async def compare(
        self, signal: str, view: View | None, k: int, models: Sequence[str], texts: Sequence[str]
    ) -> Matrix:
        """Return the similarities of the models' answers to example k, of which a view shows the `texts`."""
        members = [self._members.index(model) for model in models]
        similarities = self.similarities[view]
        if signal in similarities:
            return similarities[signal].of(k, members)
        self._recorded.at(k, members, similarities)
        return (await self._scorer.score(signal, texts)).similarities


class Recalled:
    """A `Confidence` that was measured before: of the answers to example k."""

    __slots__ = ("_columns", "_k")

    def __init__(self, columns: Mapping[str, Floats], k: int) -> None:
        self._columns = columns
        self._k = k

    def __call__(self, model: str, generation: Generation) -> float:
        return float(self._columns[model][self._k])


class _Recorded:
    """A `Scorer` of the texts of one example at a time, from similarities that were computed before."""

    def __init__(self) -> None:
        self._similarities: Mapping[str, Similarities] = {}
        self._k = 0
        self._members: Sequence[int] = ()

    def at(self, k: int, members: Sequence[int], similarities: Mapping[str, Similarities]) -> None:
        """Set the example, which of the members' texts are compared, and what was computed of them."""
        self._k, self._members, self._similarities = k, members, similarities

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        return Scores(self._similarities[signal].of(self._k, self._members))
