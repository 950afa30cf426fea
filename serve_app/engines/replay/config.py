"""What a user writes about a model of the replay engine."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from serve_app.common.options import OPERATIONAL
from serve_app.core.types.prompt import Sampling
from serve_app.engines.base import OPTIONAL_SAMPLING, EngineSettings
from serve_app.engines.replay.gpu_model import BatchSpeed
from serve_app.engines.replay.synthetic import SyntheticAnswers
from serve_app.engines.replay.tape import RecordedAnswer


class ScriptedAnswer(RecordedAnswer):
    """An answer to every prompt with `contains` in it; its latencies come before the engine's."""

    contains: str = Field(description="A part of the prompt's text; the empty string matches every prompt.")
    first_token_s: float | None = Field(default=None, ge=0, description="Seconds before the first token.")
    token_s: float | None = Field(default=None, ge=0, description="Seconds between two tokens.")


class ReplayConfig(EngineSettings):
    """Recorded or scripted answers with a latency model."""

    honours_tools: ClassVar[bool] = True
    honours_response_format: ClassVar[bool] = True
    # As with a temperature, a recorded answer stays the same; but it has no other tokens to show.
    honours_sampling: ClassVar[frozenset[str]] = OPTIONAL_SAMPLING - {"top_logprobs"}

    engine: Literal["replay"]
    answers: tuple[ScriptedAnswer, ...] = Field(default=(), description="Scripted answers; the first match wins.")
    records: Path | None = Field(default=None, description="A JSON Lines file of recorded answers, plain or `.gz`.")
    recorded_model: str | None = Field(
        default=None,
        description="The model whose answers are played, if `records` are of cascade collect or cascade import.",
    )
    default: str | None = Field(default=None, description="The answer to any other prompt; null refuses it.")
    first_token_s: Annotated[float, OPERATIONAL] = Field(
        default=0.0, ge=0, description="Seconds before the first token."
    )
    token_s: Annotated[float, OPERATIONAL] = Field(default=0.0, ge=0, description="Seconds between two tokens.")
    synthetic: SyntheticAnswers | None = Field(default=None, description="Made-up answers, in place of a default.")
    batching: Annotated[BatchSpeed | None, OPERATIONAL] = Field(
        default=None, description="Time like a GPU's with continuous batching, in place of first_token_s and token_s."
    )
    slots: Annotated[int, OPERATIONAL] = Field(default=64, gt=0, description="Requests answered at once; more wait.")
    context_tokens: int = Field(
        default=32768, gt=0, description="Tokens of prompt and answer that one request can hold."
    )

    @property
    def concurrency(self) -> int:
        return self.slots

    @model_validator(mode="after")
    def _one_way_each(self) -> Self:
        if self.synthetic is not None and self.default is not None:
            raise ValueError("synthetic: leave it out, or default: both answer any other prompt")
        if self.recorded_model is not None and self.records is None:
            raise ValueError("recorded_model needs records, in which the model's answers are")
        timed = {"first_token_s", "token_s"}
        fields = self.model_fields_set | {name for answer in self.answers for name in answer.model_fields_set}
        if self.batching is not None and timed & fields:
            raise ValueError(f"batching: leave it out, or {min(timed & fields)}: both say how long tokens take")
        return self

    def greedy(self, sampling: Sampling) -> bool:
        """Return True: a recorded answer stays the same."""
        return True

    @property
    def honours_reasoning_effort(self) -> bool:
        """Return whether requests can say how hard the model thinks; like the temperature it has no effect."""
        return True

    @property
    def honours_max_reasoning_tokens(self) -> bool:
        """Return whether requests can limit the model's thoughts."""
        return True
