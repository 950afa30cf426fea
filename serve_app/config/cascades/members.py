"""What a user writes about the members of a tier: names of models, and models that are asked several times."""

from typing import Annotated, Any, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from serve_app.config.strict import Strict
from serve_app.core.sampling import Sample

MOST_SAMPLES = 64


class SamplesConfig(Strict):
    """One model asked several times (self-consistency). Its samples are members, named `MODEL#1`, `MODEL#2`, ..."""

    model: str = Field(description="Name of the model.")
    samples: int = Field(ge=1, le=MOST_SAMPLES, description="How many times it is asked.")
    temperature: float | None = Field(
        None, ge=0, description="Temperature, in place of the request's. Default: the request's, or the model's own."
    )
    top_p: float | None = Field(None, gt=0, le=1, description="Nucleus (top-p), in place of the request's.")
    seed: int | None = Field(
        None, description="Seed of the first sample if a request names none; each sample has the next one."
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("temperature: all samples would be the same answer; it must be greater than 0")
        return self

    def expanded(self) -> list[Sample]:
        """Return the samples in their order."""
        numbers = range(1, self.samples + 1)
        return [Sample(self.model, number, self.temperature, self.top_p, self.seed) for number in numbers]


def _member(value: Any) -> Any:
    if isinstance(value, dict):
        return SamplesConfig.model_validate(value)  # here, so that faults are those of the mapping alone
    if not isinstance(value, str | SamplesConfig):
        raise ValueError("must be the name of a model, or a mapping such as {model: NAME, samples: 3, temperature: .7}")
    return value


Member: TypeAlias = Annotated[str | SamplesConfig, BeforeValidator(_member)]
