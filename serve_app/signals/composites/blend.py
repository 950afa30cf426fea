"""`blend`: agreement and token confidence in one score, by declared weights or by logistic regression."""

from collections.abc import Sequence
from math import isfinite
from typing import ClassVar, Literal

from pydantic import Field

from serve_app.core.types.blend import Blend
from serve_app.errors import SignalError
from serve_app.signals.base import CompositeOptions, Options


class BlendWeights(Options):
    """The score of an answer: intercept + agreement x o_i + confidence x c_i."""

    agreement: float = Field(1.0, description="Factor of the output score o_i.")
    confidence: float = Field(1.0, description="Factor of the confidence c_i.")
    intercept: float = Field(0.0, description="Constant that is added.")


class BlendConfig(CompositeOptions):
    """A signal that compares texts and a token-level one, combined (the paper's future work, section 5)."""

    needs_logprobs: ClassVar[bool] = True

    kind: Literal["blend"]
    agreement: str = Field(description="A signal that compares texts, or a mix of them.")
    confidence: str = Field(description="A token-level signal with zscores for every member.")
    weights: BlendWeights = Field(BlendWeights(), description="Factors of agreement and confidence.")
    logistic: bool = Field(False, description="Map the score to a probability between 0 and 1; set for fitted weights.")

    def components(self) -> dict[tuple[str | int, ...], str]:
        """Return the one signal that it compares texts by; the core adds the confidence."""
        return {("agreement",): self.agreement}

    def chosen(self, texts: Sequence[str]) -> list[str]:
        """Return the signal that it compares texts by, whatever the texts."""
        return [self.agreement]

    def blend_rule(self) -> Blend:
        """Return the weights as the decision core takes them."""
        return Blend(**self.weights.model_dump(), logistic=self.logistic)


def fit_blend(config: BlendConfig, answers: Sequence[tuple[float, float]], good: Sequence[bool]) -> BlendConfig:
    """Return `config` with weights fitted by logistic regression (L2, C = 1) on a labelled calibration set.

    `answers` are each answer's (o_i, c_i): output score (paper, section 3.2) and token confidence. `good` labels those
    worth returning; a threshold of 0.5 then accepts answers that are more likely good than not. Answers without a
    finite confidence are left out. Raises `SignalError` if those that remain are all good or all bad, or if
    scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise SignalError("Fitting a blend needs scikit-learn: pip install 'semantic-cascade[evaluation]'.") from None
    rows = [(pair, label) for pair, label in zip(answers, good, strict=True) if all(map(isfinite, pair))]
    if len({label for _, label in rows}) < 2:
        raise SignalError(f"Fitting a blend needs both good and bad answers; all {len(rows)} are of one kind.")
    model = LogisticRegression(C=1.0).fit([pair for pair, _ in rows], [label for _, label in rows])
    agreement, confidence = map(float, model.coef_[0])
    weights = BlendWeights(agreement=agreement, confidence=confidence, intercept=float(model.intercept_[0]))
    return config.model_copy(update={"weights": weights, "logistic": True})
