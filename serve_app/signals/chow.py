"""`chow_sum`, `chow_avg`, `chow_quantile`: how sure one model was of its own answer (paper, section 3.3)."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from serve_app.core.types import Confidence, Generation
from serve_app.errors import SignalError
from serve_app.signals.base import Options, SignalOptions


class ZScore(Options):
    """How a model's confidence is spread, measured on examples outside the evaluation (paper, section 3.4)."""

    mean: float = Field(description="Mean of the raw confidence.")
    std: float = Field(gt=0, description="Population standard deviation.")

    def of(self, value: float) -> float:
        """How many deviations a raw confidence lies above the mean."""
        return (value - self.mean) / self.std


class ChowConfig(SignalOptions):
    """A confidence from the log-probabilities of an answer's tokens; it needs no second answer."""

    token_level: ClassVar[bool] = True
    needs_logprobs: ClassVar[bool] = True

    kind: Literal["chow_sum", "chow_avg", "chow_quantile"]
    zscores: dict[str, ZScore] = Field(
        {}, description="Mean and deviation of this confidence for each model, without which models do not compare."
    )
    q: float = Field(0.0, ge=0.0, le=1.0, description="The quantile for `chow_quantile`; 0 is the least certain token.")

    @model_validator(mode="after")
    def _q_has_a_use(self) -> "ChowConfig":
        if "q" in self.model_fields_set and self.kind != "chow_quantile":
            raise ValueError(f"q has no meaning with {self.kind!r}, only with 'chow_quantile'.")
        return self


def chow_sum(logprobs: Sequence[float]) -> float:
    """Chow-Sum: the log-probability of the whole answer."""
    return math.fsum(logprobs)


def chow_avg(logprobs: Sequence[float]) -> float:
    """Chow-Average: the mean over tokens, so that long answers are not punished."""
    return math.fsum(logprobs) / len(logprobs)


def chow_quantile(logprobs: Sequence[float], q: float) -> float:
    """Chow-Quantile: linear between the two nearest ranks, as `numpy.quantile` does by default."""
    ordered = sorted(logprobs)
    rank = q * (len(ordered) - 1)
    below = math.floor(rank)
    low, high = ordered[below], ordered[math.ceil(rank)]
    # An impossible token makes every rank it takes part in impossible (and inf - inf would be no number).
    return low if low in (high, -math.inf) else low + (high - low) * (rank - below)


def confidence(config: ChowConfig) -> Confidence:
    """The confidence that `config` names: (model, generation) -> natural-log units, higher is surer. It pickles.

    Over the tokens in `generation.logprobs` and no others. Minus infinity without a token or without log-probabilities.
    Normalised to a z-score where `config.zscores` has the model.
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
    """`config` with z-scores measured on each model's answers to examples outside the evaluation.

    Answers without a finite confidence are left out. SignalError where fewer than two remain, or all are alike.
    """
    raw = confidence(config.model_copy(update={"zscores": {}}))
    zscores = {}
    for model, answers in examples.items():
        values = [value for answer in answers if math.isfinite(value := raw(model, answer))]
        spread = statistics.pstdev(values) if len(values) > 1 else 0.0
        if spread == 0.0:
            message = (
                f"Too few different {config.kind} confidences of {model!r} to normalise by: {len(values)} answers."
            )
            raise SignalError(message)
        zscores[model] = ZScore(mean=statistics.fmean(values), std=spread)
    return config.model_copy(update={"zscores": zscores})
