"""What clients may send for embeddings."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from serve_app.api.fields.body import Body, Text

MAX_TEXTS = 256
"""Texts in one request."""
INPUT = f"must be one string or up to {MAX_TEXTS}, none of them empty; token lists are not honoured"


class EmbeddingRequest(Body):
    """`POST /v1/embeddings`."""

    model: str = Field(min_length=1, description="An sbert signal of the config.")
    input: Text | Annotated[list[Text], Field(max_length=MAX_TEXTS, fail_fast=True)] = Field(
        description=f"One text, or up to {MAX_TEXTS}."
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, description="Only the number that the encoder has.")
    user: str | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _check_input(cls, value: Any) -> Any:
        if isinstance(value, list) and not 0 < len(value) <= MAX_TEXTS:
            raise ValueError(INPUT)
        if not all(isinstance(text, str) and text for text in (value if isinstance(value, list) else [value])):
            raise ValueError(INPUT)
        return value

    @property
    def texts(self) -> list[str]:
        """Return all texts, often one."""
        return [self.input] if isinstance(self.input, str) else self.input
