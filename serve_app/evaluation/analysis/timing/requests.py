"""Recorded examples as requests: the server's own core runs them, one after another, in virtual time.

A model takes the seconds of its recorded answer and a comparison those that it took here; nothing waits for a free
slot, and there is no network. A call that is stopped costs what the server would estimate of it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from serve_app.core.charges import charge
from serve_app.core.cost import BYTES_PER_TOKEN, Cost, Speed
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.sampling import base_name
from serve_app.core.speculation import CascadeSpeculation, Priced, SpeculationPolicy, TierHistory, learn
from serve_app.core.types.answer import Generation
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.replay import Recalled
from serve_app.evaluation.analysis.timing import virtual_time
from serve_app.evaluation.analysis.timing.recorded import RecordedModel, RecordedScorer
from serve_app.evaluation.statistics.curves import Floats

AGAIN = "@"
"""Ends the name of a model that a later tier asks once more; a model's own name cannot have it."""
Columns: TypeAlias = Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class TimedRequest:
    """The result of a request. `model`: the one whose answer went back, or None after a failure.

    `first_tier_s`: the seconds until the first tier's decision. `wasted` is the part of the `cost` for calls that were
    made ahead and not needed; `wasted_target_tokens`: completion tokens of the target in it.
    """

    seconds: float
    first_tier_s: float
    model: str | None
    to_target: bool
    cost: Cost
    wasted: Cost
    wasted_target_tokens: int


@dataclass(frozen=True, slots=True)
class ServedCascade:
    """A cascade's tiers, when the next is asked ahead (None: never), and what happens if the target fails."""

    tiers: tuple[Tier, ...]
    policy: SpeculationPolicy | None = None
    fallback: bool = False

    def without_carrying(self) -> "ServedCascade":
        """Return the cascade as if every tier asked its models anew: the later ones under names of their own."""
        tiers = [_renamed(tier, AGAIN * number) for number, tier in enumerate(self.tiers)]
        return replace(self, tiers=tuple(tiers))


def _renamed(tier: Tier, suffix: str) -> Tier:
    select = None if tier.select is None else tier.select + suffix
    return replace(tier, models=tuple(model + suffix for model in tier.models), select=select)


def _recorded_name(model: str) -> str:
    return model.rstrip(AGAIN)


class TimedRequests:
    """The requests to one cascade, in order: what past ones tell its speculation is that of the ones before."""

    def __init__(self, dataset: Dataset, cascade: ServedCascade) -> None:
        self._dataset, self._cascade = dataset, cascade
        self._names = tuple(dict.fromkeys(model for tier in cascade.tiers for model in tier.models))
        served = {name: dataset.config.model(_recorded_name(name)) for name in self._names}
        self._costs = {name: model.cost() for name, model in served.items()}
        by_base = {
            base_name(_recorded_name(name)): Speed(getattr(model, "max_tokens", None)) for name, model in served.items()
        }
        self._speeds = {name: by_base[base_name(_recorded_name(name))] for name in self._names}
        self._histories = [TierHistory() for _ in cascade.tiers[:-1]]
        self._columns = [self._confidences(tier) for tier in cascade.tiers]

    def _confidences(self, tier: Tier) -> Columns | None:
        chow = None if tier.signal is None else self._dataset.config.confidence_of(tier.signal)
        if chow is None:
            return None
        return {model: self._dataset.replay.confidences(chow, _recorded_name(model)) for model in tier.models}

    def run(self, index: Sequence[int], warm_up: Sequence[int] = ()) -> list[TimedRequest]:
        """Run the examples `index`, after those to warm up on, whose results are left out."""
        return virtual_time.run(self._run([*warm_up, *index]))[len(warm_up) :]

    async def _run(self, index: Sequence[int]) -> list[TimedRequest]:
        return [await self._request(k) for k in index]

    async def _request(self, k: int) -> TimedRequest:
        tiers = tuple(
            tier if columns is None else replace(tier, confidence=Recalled(columns, k))
            for tier, columns in zip(self._cascade.tiers, self._columns, strict=True)
        )
        answers = {name: self._dataset.replay.answers(_recorded_name(name))[k] for name in self._names}
        target = tiers[-1].models[0]
        run = Run(
            # As many bytes as the server would take for so many tokens, which is what it knows of a prompt beforehand.
            Prompt(text="-" * max(1, BYTES_PER_TOKEN * answers[target].prompt_tokens)),
            tiers,
            {name: RecordedModel(answer) for name, answer in answers.items()},
            RecordedScorer(self._dataset, tiers, k),
            fallback=self._cascade.fallback,
            speculation=self._speculation(tiers),
            speeds=self._speeds,
            clock=asyncio.get_running_loop().time,
        )
        outcome = await run_cascade(run)
        learn(self._histories, run.results)
        charges = charge(run, outcome, self._costs).request
        return TimedRequest(
            seconds=outcome.total_s,
            first_tier_s=run.results[0].elapsed_s,
            model=_recorded_name(outcome.answered_by) if isinstance(outcome.answer, Generation) else None,
            to_target=len(outcome.tiers) == len(tiers),
            cost=Cost(charges.flops, charges.usd, charges.device_s),
            wasted=charges.wasted or Cost(),
            wasted_target_tokens=sum(
                call.answer.completion_tokens for call in run.calls if call.wasted and call.model == target
            ),
        )

    def _speculation(self, tiers: Sequence[Tier]) -> CascadeSpeculation | None:
        if self._cascade.policy is None:
            return None
        priced = {name: Priced(self._costs[name], self._speeds[name]) for name in self._names}
        return CascadeSpeculation(self._cascade.policy, self._histories, tiers, priced, _always)


def _always(models: Sequence[str]) -> bool:
    """Return True: the models always have room, since records know no other requests."""
    return True
