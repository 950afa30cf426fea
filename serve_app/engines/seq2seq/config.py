"""What a user writes about an encoder-decoder model."""

from typing import Annotated, Literal

from pydantic import Field

from serve_app.common.options import OPERATIONAL
from serve_app.engines.base import FolderSettings


class Seq2SeqConfig(FolderSettings):
    """An encoder-decoder model in Hugging Face format, in this process."""

    engine: Literal["seq2seq"]
    device: Annotated[str | None, OPERATIONAL] = Field(
        default=None, description="cpu, cuda, cuda:1, mps, ...; by default the best there is."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="What the model computes in. T5 models were trained in bfloat16."
    )
    threads: Annotated[int | None, OPERATIONAL] = Field(
        default=None, gt=0, description="CPU threads, for all of torch in this process."
    )
    context_tokens: int = Field(
        default=2048, gt=0, description="Tokens that a prompt can have and, counted apart, an answer."
    )
    slots: Annotated[int, OPERATIONAL] = Field(default=16, gt=0, description="Requests decoded at once; more wait.")
    batch_tokens: Annotated[int, OPERATIONAL] = Field(
        default=2048,
        gt=0,
        description="Prompt tokens read in one go, padding included; running answers wait. A longer prompt goes alone.",
    )
    chat_template: str | None = Field(
        default=None,
        description="A Jinja chat template, special tokens included, in place of the tokeniser's own. Without "
        "either, the messages' contents follow each other, a blank line between them.",
    )

    @property
    def honours_max_reasoning_tokens(self) -> bool:
        """Return whether requests can limit the model's thoughts: these models have none."""
        return True

    @property
    def concurrency(self) -> int:
        return self.slots
