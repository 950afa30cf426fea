"""What the tools of all APIs share: their number and names, and the choice of one."""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol, TypeAlias

from pydantic import Field

from serve_app.core.tools import NamedTool, ToolChoice
from serve_app.errors import choices

MAX_TOOLS = 128
"""OpenAI's own limit."""

Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class NamedChoice(Protocol):
    """A `tool_choice` that demands a call of one tool, as OpenAI's APIs write it."""

    def to_core(self) -> NamedTool:
        """Return the tool choice that the models are given."""
        ...


def to_choice(
    choice: Literal["none", "auto", "required"] | NamedChoice | None, tools: Sequence[object]
) -> ToolChoice | None:
    """Return the choice that the models are given, or None if there is no tool or none may be called."""
    if not tools or choice is None or choice == "none":
        return None
    return choice if isinstance(choice, str) else choice.to_core()


def check_choice(
    names: Sequence[str], tool_name: str | None, *, demanded: bool, noun: str = "functions", field: str = "tool_choice"
) -> None:
    """Raise ValueError if tools share a name, or if the choice demands a call and no tool has its name.

    `noun` is the API's name for them, `field` the field of the name in the choice.
    """
    if len(set(names)) < len(names):
        raise ValueError(f"tools: two {noun} have the same name")
    if demanded and not names:
        raise ValueError("tool_choice: needs tools")
    if tool_name is not None and tool_name not in names:
        raise ValueError(f"{field}: no tool {tool_name!r}. {choices(tool_name, names)}")
