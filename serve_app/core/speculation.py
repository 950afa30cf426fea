"""When the next tier is asked before a tier has decided: the policy, and what past requests say of it."""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from serve_app.core.cost import ModelCost, Speed, capped, estimated_prompt_tokens
from serve_app.core.percentiles import nearest_rank
from serve_app.core.types.outcome import TierResult
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt

MEMORY = 200
"""Requests of a tier that its history goes back."""
LEAST = 20
"""Requests before a history says anything."""
UNINFORMATIVE: frozenset[str] = frozenset({"refused", "forced", "unaffordable", "last_tier"})
"""Reasons of decisions that say nothing about the next request."""
Room = Callable[[Sequence[str]], bool]
"""Whether these models would begin with a request each at once."""


@dataclass(frozen=True, slots=True)
class SpeculationPolicy:
    """When to start the next tier; exactly one of the first three is set.

    `when`: `always` at once, or `adaptive`: at once if the seconds that it should save, at `second_usd` each, are worth
    more than the US dollars that it should waste. `after_s`: if the tier takes longer than so many seconds;
    `percentile` (0 to 100): longer than this percentage of its past requests.
    """

    when: Literal["always", "adaptive"] | None = None
    after_s: float | None = None
    percentile: float | None = None
    second_usd: float = 0.0

    def delay_s(self, history: "TierHistory", prompt: Prompt, following: Collection["Priced"]) -> float | None:
        """Return after how many seconds the next tier is started, or None if it is not.

        `following` are the models that the next tier would call. Without enough history only `always` and `after_s`
        start anything.
        """
        if self.when == "always":
            return 0.0
        if self.after_s is not None:
            return self.after_s
        if self.percentile is not None:
            return history.percentile_s(self.percentile)
        return 0.0 if self._pays(history, prompt, following) else None

    def _pays(self, history: "TierHistory", prompt: Prompt, following: Collection["Priced"]) -> bool:
        rate, seconds = history.deferral_rate, history.mean_s
        if rate is None or seconds is None:
            return False
        costs = [model.usd_after(seconds, prompt) for model in following]
        if any(usd is None for usd in costs):
            return False
        return self.pays(rate, seconds, sum(usd for usd in costs if usd is not None))

    def pays(self, rate: float, seconds: float, spent_usd: float) -> bool:
        """Return whether p x T x (price of a second) exceeds (1 - p) x (what the models have spent after T seconds).

        p is the deferral rate, T the mean seconds of the tier: a deferred request saves all of them.
        """
        return rate * seconds * self.second_usd > (1 - rate) * spent_usd


@dataclass(frozen=True, slots=True)
class Priced:
    """A model's prices and its speed."""

    cost: ModelCost
    speed: Speed

    def usd_after(self, seconds: float, prompt: Prompt) -> float | None:
        """Return the US dollars that a call has cost if it is stopped after so many seconds; None if unknown."""
        prompt_tokens = estimated_prompt_tokens(prompt)
        tokens = self.speed.tokens(seconds, prompt_tokens)
        if tokens is None:
            return None
        return self.cost.usd(prompt_tokens, capped(tokens, prompt, self.speed), seconds * self.cost.devices)


class TierHistory:
    """The last `MEMORY` requests of a tier: the seconds until its decision, and whether it deferred."""

    def __init__(self) -> None:
        self._requests: deque[tuple[float, bool]] = deque(maxlen=MEMORY)

    def observe(self, result: TierResult) -> None:
        """Take in a tier's result, unless its decision was not the tier's own."""
        if result.decision.reason not in UNINFORMATIVE:
            self._requests.append((result.elapsed_s, not result.decision.accepted))

    @property
    def deferral_rate(self) -> float | None:
        """Return the share of requests that were deferred, or None if there are too few."""
        return self._mean([float(deferred) for _, deferred in self._requests])

    @property
    def mean_s(self) -> float | None:
        """Return the mean seconds until the decision, or None if there are too few requests."""
        return self._mean([seconds for seconds, _ in self._requests])

    def percentile_s(self, percentile: float) -> float | None:
        """Return the seconds within which so many percent of the requests were decided, or None if there are too few.

        The smallest observed time that is not exceeded by at least that share (nearest rank).
        """
        if len(self._requests) < LEAST:
            return None
        return nearest_rank((seconds for seconds, _ in self._requests), percentile)

    def _mean(self, values: list[float]) -> float | None:
        return None if len(values) < LEAST else sum(values) / len(values)


def learn(histories: Sequence[TierHistory], results: Sequence[TierResult]) -> None:
    """Let the histories of a cascade's tiers observe the result of each of them in one request."""
    for history, result in zip(histories, results, strict=False):
        history.observe(result)


class CascadeSpeculation:
    """The core's `Speculation` for one request."""

    def __init__(
        self,
        policy: SpeculationPolicy,
        histories: Sequence[TierHistory],
        tiers: Sequence[Tier],
        priced: Mapping[str, Priced],
        room: Room,
    ) -> None:
        self._policy = policy
        self._histories = histories
        self._tiers = tiers
        self._priced = priced
        self._room = room

    def delay_s(self, number: int, prompt: Prompt) -> float | None:
        asked_models = {name for tier in self._tiers[: number + 1] for name in tier.models}
        following = [self._priced[name] for name in self._tiers[number + 1].models if name not in asked_models]
        return self._policy.delay_s(self._histories[number], prompt, following)

    def may_start(self, models: Sequence[str]) -> bool:
        return self._room(models)
