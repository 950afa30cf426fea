"""`chow_sum`, `chow_avg`, `chow_quantile`: one model's confidence in its own answer (paper, section 3.3)."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from serve_app.core.types.answer import Generation
from serve_app.core.types.policy import Confidence
from serve_app.core.types.signal_range import Range
from serve_app.errors import SignalError, counted
from serve_app.signals.base import Options, SignalOptions


class ZScore(Options):
    """Mean and deviation of a model's confidence, measured on examples outside the evaluation (paper, section 3.4)."""

    mean: float = Field(description="Mean of the raw confidence.")
    std: float = Field(gt=0, description="Population standard deviation.")

    def of(self, value: float) -> float:
        """Return the number of standard deviations that a raw confidence is above the mean."""
        return (value - self.mean) / self.std


class ChowConfig(SignalOptions):
    """A confidence from the log-probabilities of an answer's tokens; it needs no second answer."""

    token_level: ClassVar[bool] = True
    needs_logprobs: ClassVar[bool] = True

    kind: Literal["chow_sum", "chow_avg", "chow_quantile"]
    zscores: dict[str, ZScore] = Field(
        {}, description="Mean and deviation of this confidence for each model, needed to compare several models."
    )
    q: float = Field(0.0, ge=0.0, le=1.0, description="The quantile for `chow_quantile`; 0 is the least certain token.")

    @model_validator(mode="after")
    def _q_has_a_use(self) -> "ChowConfig":
        if "q" in self.model_fields_set and self.kind != "chow_quantile":
            raise ValueError(f"q has no meaning with {self.kind!r}, only with 'chow_quantile'.")
        return self

    def range_of(self, parts: Sequence[Range | None], models: Sequence[str]) -> Range | None:
        """Return the bounds of the confidences of `models`: no log-probability is above 0, before it is normalised."""
        highest = [self.zscores[model].of(0.0) if model in self.zscores else 0.0 for model in models]
        return Range(-math.inf, max(highest, default=0.0))


def chow_sum(logprobs: Sequence[float]) -> float:
    """Return Chow-Sum: the log-probability of the whole answer, in nats (paper, section 3.3)."""
    return math.fsum(logprobs)


def chow_avg(logprobs: Sequence[float]) -> float:
    """Return Chow-Average: the mean log-probability of a token, independent of the answer's length (section 3.3)."""
    return math.fsum(logprobs) / len(logprobs)


def chow_quantile(logprobs: Sequence[float], q: float) -> float:
    """Return Chow-Quantile: linear between the two nearest ranks, as `numpy.quantile` by default (section 3.3)."""
    ordered = sorted(logprobs)
    rank = q * (len(ordered) - 1)
    below = math.floor(rank)
    low, high = ordered[below], ordered[math.ceil(rank)]
    # -inf at either rank makes the quantile -inf; interpolating would give inf - inf = NaN.
    return low if low in (high, -math.inf) else low + (high - low) * (rank - below)


def confidence(config: ChowConfig) -> Confidence:
    """Return the confidence that `config` names: (model, generation) -> nats, higher is surer. It can be pickled.

    It is computed over the tokens in `generation.logprobs`, and minus infinity if there are none. If `config.zscores`
    has the model, it is a z-score instead (paper, section 3.4).
    """
    rule: Callable[[Sequence[float]], float]
    if config.kind == "chow_sum":
        rule = chow_sum
    elif config.kind == "chow_avg":
        rule = chow_avg
    else:
        rule = partial(chow_quantile, q=config.q)
    return partial(_confidence, rule, config.zscores)


def _confidence(
    rule: Callable[[Sequence[float]], float], zscores: Mapping[str, ZScore], model: str, generation: Generation
) -> float:
    if not generation.logprobs:
        return -math.inf
    value = rule([token.logprob for token in generation.logprobs])
    return zscores[model].of(value) if model in zscores else value


def fit_zscores(config: ChowConfig, examples: Mapping[str, Sequence[Generation]]) -> ChowConfig:
    """Return `config` with z-scores measured on each model's answers to examples outside the evaluation.

    See section 3.4 of the paper. Answers without a finite confidence are left out. Raises `SignalError` if fewer than
    two remain, or all have the same confidence.
    """
    raw = confidence(config.model_copy(update={"zscores": {}}))
    zscores = {}
    for model, answers in examples.items():
        values = [value for answer in answers if math.isfinite(value := raw(model, answer))]
        spread = statistics.pstdev(values) if len(values) > 1 else 0.0
        if spread == 0.0:
            count = counted(len(values), "answer")
            raise SignalError(f"Too few different {config.kind} confidences of {model!r} to normalise by: {count}.")
        zscores[model] = ZScore(mean=statistics.fmean(values), std=spread)
    return config.model_copy(update={"zscores": zscores})
