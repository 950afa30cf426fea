"""What a user writes about a llama.cpp model."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from serve_app.common.options import OPERATIONAL
from serve_app.engines.base import OPTIONAL_SAMPLING, DecodingSettings
from serve_app.engines.running.thinking import Markers, Reasoning


class LlamaCppConfig(DecodingSettings):
    """A GGUF model in this process; the defaults suit a machine with two cores."""

    honours_tools: ClassVar[bool] = True
    honours_response_format: ClassVar[bool] = True
    honours_sampling: ClassVar[frozenset[str]] = OPTIONAL_SAMPLING

    engine: Literal["llama_cpp"]
    context_tokens: int = Field(
        default=2048, gt=0, multiple_of=256, description="Tokens of prompt and answer that one request can hold."
    )
    slots: Annotated[int, OPERATIONAL] = Field(default=4, gt=0, description="Requests decoded at once; more wait.")
    threads: Annotated[int, OPERATIONAL] = Field(default=1, gt=0, description="CPU threads.")
    batch_tokens: Annotated[int, OPERATIONAL] = Field(
        default=64, gt=0, description="Prompt tokens processed in one go: cancelling takes effect between two batches."
    )
    gpu_layers: Annotated[int, OPERATIONAL] = Field(default=0, ge=-1, description="Layers kept on a GPU; -1 for all.")
    chat_template: str | None = Field(
        default=None, description="A Jinja chat template in place of the one that comes with the weights."
    )
    cache_prompt: bool = Field(
        default=False,
        description="Reuse what a slot holds of a prompt: faster chats, but answers may depend on earlier requests.",
    )
    stop: tuple[str, ...] = Field(
        default=(),
        description="Strings that end every answer, besides a request's own: a base model, which has not learnt to "
        "end a turn, needs them.",
    )
    reasoning: Reasoning = Markers()
    reasoning_effort: bool = Field(
        default=False, description="Whether requests can have a reasoning_effort: the chat template must read it."
    )

    @property
    def honours_reasoning_effort(self) -> bool:
        """Return whether requests can say how hard the model thinks."""
        return self.reasoning_effort

    @property
    def honours_max_reasoning_tokens(self) -> bool:
        """Return whether requests can limit the model's thoughts."""
        return self.reasoning is not None

    @property
    def concurrency(self) -> int:
        return self.slots
