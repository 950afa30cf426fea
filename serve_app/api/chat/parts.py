"""Parts of a message's content: text, and images in a user's message."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from serve_app.api.chat.tolerated import IGNORED
from serve_app.api.fields.body import Body, Text
from serve_app.api.fields.image_url import ImageUrl
from serve_app.core.types.prompt import Image


class ImageSource(Body):
    """OpenAI's `image_url`: where an image is, and how closely to look at it."""

    url: ImageUrl
    detail: Literal["auto", "low", "high"] | None = None


class ContentPart(Body):
    """A part of a message; audio and files are refused."""

    ignored = IGNORED["part"]

    type: Literal["text", "image_url"]
    text: Text | None = Field(None, validate_default=True)
    image_url: ImageSource | None = Field(None, validate_default=True)

    @field_validator("text", "image_url")
    @classmethod
    def _with_its_type(cls, value: object, info: ValidationInfo) -> object:
        kind = info.data.get("type")
        if value is None and kind == info.field_name:
            raise ValueError("required, but missing")
        if value is not None and kind not in (None, info.field_name):
            raise ValueError(f'only with type "{info.field_name}"')
        return value

    def to_core(self) -> str | Image:
        """Return the part as the models are given it."""
        return self.text or "" if self.image_url is None else Image(self.image_url.url, self.image_url.detail)
