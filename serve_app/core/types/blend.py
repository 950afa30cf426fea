"""Agreement and token confidence in one output score."""

from dataclasses import dataclass
from math import exp, inf


@dataclass(frozen=True, slots=True)
class Blend:
    """Agreement and token confidence in one output score (the paper's future work, section 5).

    `intercept + agreement x o_i + confidence x c_i`, or its logistic function: the probability that answer i is good.
    It is minus infinity without log-probabilities, as a negative weight would make their absence the best confidence.
    """

    agreement: float
    confidence: float
    intercept: float = 0.0
    logistic: bool = False

    def __call__(self, agreement: float, confidence: float) -> float:
        """Return the output score of an answer with this agreement and this confidence."""
        if confidence == -inf:
            return -inf
        score = self.intercept + self.agreement * agreement + self.confidence * confidence
        return _logistic(score) if self.logistic else score


def _logistic(x: float) -> float:
    if x < 0:  # exp of a large number would overflow
        return exp(x) / (1 + exp(x))
    return 1 / (1 + exp(-x))
