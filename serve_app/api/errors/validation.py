"""Faults that pydantic finds in a body -> a sentence about the field as the client wrote it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from serve_app.api.chat.tools import NamedToolChoice
from serve_app.api.fields.variants import is_variant, wrong_field
from serve_app.errors import QUOTED_CHARACTERS, did_you_mean

MISSPELT = 0.75
"""Similarity of a field to the one that was meant. Those of other APIs have less: `stop` and our `top_p` .67."""


def described(items: Sequence[Any], neutral: Mapping[str, Sequence[Any]]) -> tuple[str, str | None]:
    """Return a sentence about the first fault, and the field that it names."""
    # A union has an error for each of its members; the deepest belongs to the member that the client meant.
    field = _field(items[0])
    within = [item for item in items if _field(item)[: len(field)] == field] if field else items[:1]
    deepest = max(map(_field, within), key=len)
    faults = _of_the_value([item for item in within if _field(item) == deepest])
    item = faults[0]
    param = _dotted(_field(item)) or None
    subject = param or "The request body"
    match item["type"]:
        case "missing":
            return (f"{param}: required, but missing." if param else "The request has no body."), param
        case "model_attributes_type" | "model_type" | "dict_type":
            hint = "" if param else ", sent with the content type application/json"
            return f"{subject}: must be a JSON object{hint}.", param
        case "extra_forbidden" if param is not None and param in neutral:
            allowed = " or ".join(json.dumps(value) for value in neutral[param])
            return f"{param}: not supported, except {allowed}.", param
        case "extra_forbidden":
            hint = did_you_mean(_field(item)[-1], item["input"].available, MISSPELT)
            return f"{param}: this field is not supported. {hint}".rstrip(), param
    messages = dict.fromkeys(_must(fault["msg"]) for fault in faults)
    message = " or ".join([next(iter(messages)), *(text.removeprefix("must be ") for text in list(messages)[1:])])
    if param is None and ": " in message:
        param, message = message.split(": ", 1)
    value = _value(item)
    got = f", got {json.dumps(value)}" if _is_short(value) else ""
    return f"{param or subject}: {message}{got}.", param


def _of_the_value(faults: list[Any]) -> list[Any]:
    """Return the faults of one field without those of other types in its union, if its own type is among them."""
    value_faults = [
        fault for fault in faults if fault["type"] != "literal_error" and not fault["type"].endswith("_type")
    ]
    return value_faults or faults


def _field(item: Any) -> tuple[Any, ...]:
    """Return the field as the client wrote it, without `body` and pydantic's names of union members."""
    *path, last = item["loc"]
    is_field = item["type"] == "extra_forbidden" or not _is_tag(last)
    wrong = wrong_field(item["type"])
    return (
        *(step for step in path[1:] if not _is_tag(step)),
        *((last,) if path and is_field else ()),
        *([wrong] if wrong else ()),
    )


def _value(item: Any) -> Any:
    """Return the value of the field, if the error has it."""
    value, wrong = item.get("input"), wrong_field(item["type"])
    return value[wrong] if wrong else value


def _dotted(field: Sequence[Any]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step[:QUOTED_CHARACTERS]}" for step in field)
    return "".join(steps).lstrip(".")


def _is_short(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) < QUOTED_CHARACTERS and len(repr(value)) < QUOTED_CHARACTERS
    return isinstance(value, int | float) and len(repr(value)) < QUOTED_CHARACTERS


def _must(message: str) -> str:
    plain = re.split(", unable to parse| after validation", message.removeprefix("Value error, "))[0]
    return re.sub("^(Input|String|List|Dictionary) should", "must", plain).rstrip(".")


def _is_tag(step: Any) -> bool:
    tags = ("str", "float", NamedToolChoice.__name__)
    return isinstance(step, str) and (
        step in tags or is_variant(step) or step.startswith(("list[", "dict[", "literal[", "function-after["))
    )
