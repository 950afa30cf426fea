"""What pydantic found wrong, as sentences that name the field, the value and the allowed ones."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from serve_app.common.secrecy import names_secret, without_secrets
from serve_app.errors import choices, counted

Schema: TypeAlias = Mapping[str, Any]
KEY = "[key]"
"""Where pydantic's path of a value ends if a mapping's key is wrong, and not its value."""
_HIDDEN = object()
"""Replaces a secret's value in messages."""


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return one sentence for each error; `prefix` goes before every field's path.

    What looks like a secret is hidden.
    """
    schema = _schema_of(model)
    return [without_secrets(_sentence(dict(item), schema, prefix)) for item in error.errors(include_url=False)]


@cache
def _schema_of(model: type[BaseModel]) -> Schema:
    """Return the model's schema, which takes pydantic a third of a second for a whole config."""
    return model.model_json_schema()


def _sentence(item: dict[str, Any], schema: Schema, prefix: str) -> str:
    path, parent, node = _walk(item["loc"], schema)
    inside = prefix + dotted(path) if path else prefix.rstrip(".")
    where = inside or "the configuration"
    value = _HIDDEN if under_secret_name(item["loc"]) else item.get("input")
    match item["type"]:
        case "extra_forbidden":
            available = {key for option in _options(parent, schema) for key in option.get("properties", {})}
            return f"{where}: unknown key. {choices(str(path[-1]), available)}"
        case "missing":
            return f"{where}: required, but missing."
        case "union_tag_not_found":
            return f"{_join(inside, _tag_key(item))}: required, but missing. {choices('', _tags(node))}"
        case "union_tag_invalid":
            tag = str(item["ctx"]["tag"])
            return f"{_join(inside, _tag_key(item))}: unknown value {tag!r}. {choices(tag, _tags(node))}"
        case "too_short":
            least = counted(item["ctx"]["min_length"], "entry", "entries")
            return f"{where}: needs at least {least}, got {item['ctx']['actual_length']}."
        case "too_long":
            most = counted(item["ctx"]["max_length"], "entry", "entries")
            return f"{where}: takes at most {most}, got {item['ctx']['actual_length']}."
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"{where}: must be a mapping, got {_shown(value)}."
        case "list_type" | "tuple_type":
            return f"{where}: must be a list, got {_shown(value)}."
    message = "a key must be text; put it in quotes" if item["loc"][-1:] == (KEY,) else ""
    message = plain(item["msg"]) if not message or item["type"] == "value_error" else message
    # Messages of rules over several fields begin with the path of the field at fault.
    if inner := re.match(r"[\w.\[\]-]+(?=: )", message):
        where, message = _join(inside, inner[0]), message[inner.end() + 2 :]
    simple = isinstance(value, str | int | float) or value is None
    got = f", got {_shown(value)}" if simple and not inner else ""
    return f"{where}: {message}{got}."


def under_secret_name(loc: Sequence[str | int]) -> bool:
    """Return whether the path of a value marks it as a secret."""
    return any(isinstance(step, str) and step != KEY and names_secret(step) for step in loc)


def plain(text: str) -> str:
    """Reduce pydantic's message to the end of a sentence of ours."""
    short = text.removeprefix("Value error, ").split(", unable to parse")[0].rstrip(".!")
    return re.sub("^(Input|String) should", "must", short).replace("Field required", "required, but missing")


def kind_of(value: Any) -> str:
    """Return what a value of a YAML file is in a user's words, for the end of `must be a mapping, got`."""
    if value is None:
        return "nothing"
    kinds: list[tuple[type, str]] = [(str, "text"), (bool, "a truth value"), (int, "a number"), (float, "a number")]
    kinds += [(dict, "a mapping"), (list, "a list")]
    return next((kind for type_, kind in kinds if isinstance(value, type_)), type(value).__name__)


def _shown(value: Any) -> str:
    if value is _HIDDEN:
        return "a value that is not shown"
    return "null" if value is None else repr(value) if isinstance(value, str | int | float) else kind_of(value)


def _tag_key(item: Mapping[str, Any]) -> str:
    return str(item["ctx"]["discriminator"]).strip("'")


def _tags(node: Schema) -> list[str]:
    return list(node.get("discriminator", {}).get("mapping", {}))


def _walk(loc: Sequence[str | int], schema: Schema) -> tuple[list[str | int], Schema, Schema]:
    """Return the path as the user wrote it, without pydantic's union tags, and the schemas of its parent and end."""
    path: list[str | int] = []
    parent = node = _resolve(schema, schema)
    for step in loc:
        mapping = node.get("discriminator", {}).get("mapping", {})
        if step in mapping:
            node = _resolve({"$ref": mapping[step]}, schema)
            continue
        following = next(_children(node, step, schema), None)
        if following is None and not _is_key(node, step, schema):
            continue  # the tag of a plain union, or `[key]`
        is_index = any("items" in option for option in _options(node, schema))
        path.append(step if is_index else str(step))
        parent, node = node, _resolve(following or {}, schema)
    return path, parent, node


def _children(node: Schema, step: str | int, schema: Schema) -> Iterator[Schema]:
    """Yield the schemas that a key or an index may lead to."""
    for option in _options(node, schema):
        if isinstance(step, int) and isinstance(option.get("items"), Mapping):
            yield option["items"]
        if step in option.get("properties", {}):
            yield option["properties"][step]
        if isinstance(option.get("additionalProperties"), Mapping) and step != KEY:
            yield option["additionalProperties"]


def _is_key(node: Schema, step: str | int, schema: Schema) -> bool:
    return isinstance(step, int) or any("properties" in option for option in _options(node, schema))


def _options(node: Schema, schema: Schema) -> list[Schema]:
    return [node, *(_resolve(option, schema) for option in node.get("anyOf", []))]


def _resolve(node: Schema, schema: Schema) -> Schema:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node


def _join(where: str, path: str) -> str:
    return f"{where}.{path}" if where else path


def dotted(path: Sequence[str | int]) -> str:
    """Return the path of a value as a user would write it: `models.a.weights[0]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.lstrip(".")
