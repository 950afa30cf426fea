"""Models and a scorer that take the seconds that they took when records were collected."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from math import nan

from serve_app.core.protocols import Model, Scorer
from serve_app.core.types.answer import Answer, Delta, Failure
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt
from serve_app.core.types.scores import Scores
from serve_app.core.views.view import View
from serve_app.evaluation.analysis.dataset import Dataset


class RecordedModel(Model):
    """A model that gives one answer, after the seconds that the answer took; past a time limit it fails."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def generate(self, prompt: Prompt) -> Answer:
        if prompt.timeout_s is not None and self._answer.latency_s > prompt.timeout_s:
            await asyncio.sleep(prompt.timeout_s)
            return Failure("timeout", f"No answer within {prompt.timeout_s} s.", uncounted=True)
        await asyncio.sleep(self._answer.latency_s)
        return self._answer

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        yield await self.generate(prompt)


class RecordedScorer(Scorer):
    """A scorer of the answers to example `k`, by similarities that were measured, in the seconds that it took then."""

    def __init__(self, dataset: Dataset, tiers: Sequence[Tier], k: int) -> None:
        self._dataset = dataset
        self._k = k
        self._views: list[View | None] = list(dict.fromkeys(tier.compare for tier in tiers if tier.signal))

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        view, models = self._models(texts)
        similarities = await self._dataset.replay.compare(signal, view, self._k, models, texts)
        flops = seconds = 0.0
        for computed, share in self._dataset.scoring_shares(signal, view, len(texts), since):
            flops += nan if computed.flops is None else float(computed.flops[self._k]) * share
            seconds += computed.device_s * share
        await asyncio.sleep(seconds)
        return Scores(similarities, flops, seconds)

    def _models(self, texts: Sequence[str]) -> tuple[View | None, list[str]]:
        """Return a view by which models have these texts, and the models, each once."""
        for view in self._views:
            unused = {model: self._dataset.replay.texts(model, view)[self._k] for model in self._dataset.members}
            models = []
            for text in texts:
                model = next((model for model, shown in unused.items() if shown == text), None)
                if model is None:
                    break
                del unused[model]
                models.append(model)
            else:
                return view, models
        raise AssertionError("Only recorded answers are compared.")
