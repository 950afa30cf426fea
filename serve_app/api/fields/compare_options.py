"""The part of an answer that is compared, as a request writes it."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from serve_app.api.fields.body import Body, encodable
from serve_app.core.views.options import takes
from serve_app.core.views.view import After, Chain, JsonField, Normalise, Strip, Take, View

TakeField: TypeAlias = str | Annotated[dict[str, str], Field(max_length=2)]
LONGEST = 256
"""Characters of a path or a mark."""


class CompareOptions(Body):
    """A view, but without regular expressions: those could keep the server busy indefinitely."""

    strip: list[Strip] = Field([], max_length=8, description="Markup to leave out first.")
    take: TakeField | Annotated[list[TakeField], Field(min_length=1, max_length=8)] | None = Field(
        None,
        description="The part that matters: last_number, boxed, choice, {json: PATH} or {after: MARK}, with "
        "`then` and a name if only a part of that counts; of a list the first that the text has.",
    )
    normalise: list[Normalise] = Field([], max_length=8, description="What does not count as a difference.")
    otherwise: Literal["whole", "empty"] = Field(
        "whole", description="What is compared if there is nothing to take: the whole text, or nothing."
    )

    @model_validator(mode="after")
    def _takes(self) -> Self:
        try:
            for take in takes(self.take, patterns=False):
                _check_text(take)
        except ValueError as error:
            raise ValueError(f"take: {error}") from None
        return self

    def view(self) -> View:
        """Return the view as the decision core takes it."""
        return View(tuple(self.strip), takes(self.take, patterns=False), tuple(self.normalise), self.otherwise)


def _check_text(take: Take) -> None:
    take = take.first if isinstance(take, Chain) else take
    text = take.path if isinstance(take, JsonField) else take.mark if isinstance(take, After) else ""
    if len(encodable(text)) > LONGEST:
        raise ValueError(f"must have at most {LONGEST} characters")
