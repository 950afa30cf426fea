"""Views in a config: the part of an answer that is compared, or graded."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from serve_app.config.strict import Strict
from serve_app.core.views.options import takes
from serve_app.core.views.view import Normalise, Strip, View

TakeSetting: TypeAlias = str | dict[str, str]


class ViewConfig(Strict):
    """A view: what of an answer counts. The answer itself goes back whole."""

    strip: list[Strip] = Field([], description="Markup to leave out first.")
    take: TakeSetting | Annotated[list[TakeSetting], Field(min_length=1)] | None = Field(
        None,
        description="The part that matters: last_number, boxed, choice, {json: PATH}, {after: MARK} or "
        "{regex: PATTERN}, each of which may have a `then`: a name, if only a part of that counts. Of a list the first "
        "that the text has. Default: all of it.",
    )
    normalise: list[Normalise] = Field([], description="What does not count as a difference.")
    otherwise: Literal["whole", "empty"] = Field(
        "whole", description="What counts if there is nothing to take: the whole text, or nothing."
    )

    @model_validator(mode="after")
    def _takes(self) -> Self:
        try:
            takes(self.take)
        except ValueError as error:
            raise ValueError(f"take: {error}") from None
        return self

    def view(self) -> View:
        """Return the view as the decision core, and a metric, takes it."""
        return View(tuple(self.strip), takes(self.take), tuple(self.normalise), self.otherwise)
