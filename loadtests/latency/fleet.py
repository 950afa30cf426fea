"""Models that are clocks, a scorer that knows its answers, and a cascade over them, by the server's own core."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from time import perf_counter

import numpy as np

from loadtests.latency.workload import MEMBERS, Workload
from serve_app.core.cost import ModelCost, Speed
from serve_app.core.deciding.agreement import agree, survivors
from serve_app.core.deciding.deferral import decide
from serve_app.core.protocols import Model, Scorer
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.speculation import CascadeSpeculation, Priced, SpeculationPolicy, TierHistory, learn
from serve_app.core.types.answer import Answer, Delta, Generation
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt
from serve_app.core.types.scores import Scores
from serve_app.engines.replay.engine import ReplayEngine
from serve_app.engines.running.answer import answer, stream_answer
from serve_app.signals import RougeConfig, build_signal


class Clockwork(Model):
    """A model over a replay engine, with the time of a call over the network before it."""

    def __init__(self, engine: ReplayEngine, hop_s: float) -> None:
        self.engine = engine
        self._hop_s = hop_s
        self.in_progress = 0

    async def generate(self, prompt: Prompt) -> Answer:
        self.in_progress += 1
        try:
            await asyncio.sleep(self._hop_s)
            return await answer(self.engine, prompt)
        finally:
            self.in_progress -= 1

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        await asyncio.sleep(self._hop_s)
        async with aclosing(stream_answer(self.engine, prompt)) as items:
            async for item in items:
                yield item


class KnownScorer(Scorer):
    """Similarities of the members' answers, computed once; a comparison takes the mean seconds that it took then."""

    def __init__(self, workload: Workload) -> None:
        signal = build_signal(RougeConfig(kind="rougeL"))
        columns = [workload.answers[name] for name in MEMBERS]
        self._texts = [[reply.text for reply in row] for row in zip(*columns, strict=True)]
        started = perf_counter()
        scored = signal.similarities(self._texts)
        self._pair_s = (perf_counter() - started) / (len(self._texts) * len(MEMBERS) * (len(MEMBERS) - 1) / 2)
        self._similarities: dict[tuple[str, str], float] = {}
        for texts, scores in zip(self._texts, scored, strict=True):
            for i, first in enumerate(texts):
                for j, second in enumerate(texts):
                    self._similarities[first, second] = scores.similarities[i][j]

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        await asyncio.sleep(self._pair_s * (len(texts) * (len(texts) - 1) - since * (since - 1)) / 2)
        return Scores(tuple(tuple(self._similarities[a, b] for b in texts) for a in texts))

    def agreements(self, tier: Tier) -> np.ndarray:
        """Return how far the tier's members agree on each prompt, shape (n,)."""
        chosen = [MEMBERS.index(name) for name in tier.models]
        values = []
        for row in self._texts:
            generations = [Generation(row[i], "stop", 1, 1) for i in chosen]
            matrix = tuple(tuple(self._similarities[a.text, b.text] for b in generations) for a in generations)
            decision = decide(tier, agree(survivors(tier, generations), matrix))
            values.append(-1.0 if decision.agreement is None else decision.agreement)
        return np.array(values)


class Fleet:
    """Models in use by one cascade, with what its past requests tell its speculation."""

    def __init__(
        self,
        models: Mapping[str, Clockwork],
        slots: Mapping[str, int],
        costs: Mapping[str, ModelCost],
        scorer: Scorer,
        tiers: tuple[Tier, ...],
        policy: SpeculationPolicy | None,
    ) -> None:
        self.models = models
        self._slots, self._scorer, self._tiers, self._policy = slots, scorer, tiers, policy
        self._speeds = {name: Speed() for name in models}
        self._priced = {name: Priced(costs[name], self._speeds[name]) for name in models}
        self._histories = [TierHistory() for _ in tiers[:-1]]

    async def request(self, text: str) -> tuple[Run, Outcome]:
        """Run one request to its end."""
        run = Run(
            Prompt(text=text),
            self._tiers,
            self.models,
            self._scorer,
            speculation=self._speculation(),
            speeds=self._speeds,
            clock=asyncio.get_running_loop().time,
        )
        outcome = await run_cascade(run)
        learn(self._histories, run.results)
        return run, outcome

    def _speculation(self) -> CascadeSpeculation | None:
        if self._policy is None:
            return None
        return CascadeSpeculation(self._policy, self._histories, self._tiers, self._priced, self._idle)

    def _idle(self, names: Sequence[str]) -> bool:
        return all(self.models[name].in_progress < self._slots[name] for name in names)
