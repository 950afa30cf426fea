"""What clients may send for embeddings."""

from typing import Annotated, Literal

from pydantic import Field

from serve_app.api.fields.body import Body, Text
from serve_app.api.fields.texts import as_list, up_to

MAX_TEXTS = 256
"""Texts in one request."""


class EmbeddingRequest(Body):
    """`POST /v1/embeddings`."""

    model: str = Field(min_length=1, description="An sbert signal of the config.")
    input: Annotated[Text | Annotated[list[Text], Field(max_length=MAX_TEXTS, fail_fast=True)], up_to(MAX_TEXTS)] = (
        Field(description=f"One text, or up to {MAX_TEXTS}.")
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, description="Only the number that the encoder has.")
    user: str | None = None

    @property
    def texts(self) -> list[str]:
        """Return all texts, often one."""
        return as_list(self.input)
