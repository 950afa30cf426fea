"""Write docs/configuration-reference.md from the pydantic models, or with --check fail if it is out of date.

Sections are found by walking the JSON schema from the config file down, so a new field or class appears by itself.
"""

import argparse
import json
import re
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from serve_app.cluster.settings import Settings
from serve_app.config import RouterSettings
from serve_app.config.serve_file import ServeFile

RAYS = {"ServeFile", "HttpOptions", "ApplicationEntry", "DeploymentOverride"}
"""Models whose fields are Ray Serve's unless they say otherwise."""
OWN_MEANING = {"engine": "Which engine runs the model.", "kind": "Which signal it is."}
PAGE = Path(__file__).parent / "configuration-reference.md"
Schema: TypeAlias = dict[str, Any]

INTRODUCTION = """# Configuration reference

Every field that a config file can have, with its type, its default and what it means. This page is generated from the
models that validate the file (`make docs-reference`; a test fails if it is out of date), so it cannot differ from what
the server accepts. The [configuration guide](configuration.md) explains how the fields work together.

Unknown keys are refused everywhere, with the nearest valid name. "required" marks a field without a default.
"""
ROOTS = (
    (ServeFile, "The file", "file", "Fields of the file itself; all but `applications` are Ray Serve's own."),
    (
        RouterSettings,
        "The router's user_config",
        "user_config",
        "`user_config` of the deployment `Router`: what `serve deploy` changes without restarting a replica.",
    ),
    (
        Settings,
        "Settings of the Kubernetes manifests",
        "settings",
        "The file that `cascade k8s render --settings` takes; each overlay starts from settings of its own.",
    ),
)
LIMITS = {
    "minimum": ">= {}",
    "exclusiveMinimum": "> {}",
    "maximum": "<= {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
    "minLength": "not shorter than {}",
    "minItems": "at least {}",
    "minProperties": "at least {}",
    "pattern": "matches `{}`",
}


def text() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    for model, title, path, about in ROOTS:
        schema = model.model_json_schema()
        titles = {name: heading(schema["$defs"][name], where, path) for name, where in definitions(schema).items()}
        parts.append(f"## {title}\n\n{about}\n\n{table(schema, schema, titles)}")
        for name, subtitle in titles.items():
            definition = schema["$defs"][name]
            parts.append(f"### {subtitle}\n\n{about_of(definition)}{table(definition, schema, titles)}")
    return "\n".join(parts)


def definitions(schema: Schema) -> dict[str, str]:
    """Return the names of all nested objects, breadth first, and the path at which the file first reaches each."""
    paths: dict[str, str] = {}
    waiting = deque(fields_of(schema, ""))
    while waiting:
        value, path = waiting.popleft()
        for name, where in references(value, path):
            if name not in paths:
                paths[name] = where
                waiting.extend(fields_of(schema["$defs"][name], where))
    return paths


def fields_of(definition: Schema, path: str) -> list[tuple[Schema, str]]:
    """Return an object's fields with their paths in the file; `args` is where a user's own part begins."""
    return [
        (value, f"{path}.{name}".removeprefix(".").removeprefix("applications[].args."))
        for name, value in definition.get("properties", {}).items()
    ]


def references(value: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Yield the names of the objects that a value may hold."""
    if "$ref" in value:
        yield value["$ref"].rpartition("/")[2], path
    for option in [*value.get("anyOf", ()), *value.get("oneOf", ())]:
        yield from references(option, path)
    if isinstance(value.get("items"), dict):
        yield from references(value["items"], f"{path}[]")
    if isinstance(value.get("additionalProperties"), dict):
        yield from references(value["additionalProperties"], f"{path}.NAME")


def heading(definition: Schema, where: str, root: str) -> str:
    """Return a section's title: the choice that makes an object what it is, else its path in the file."""
    for field in ("engine", "kind"):
        value = definition.get("properties", {}).get(field, {})
        if kinds := [value["const"]] if "const" in value else value.get("enum", []):
            return f"{where.partition('.')[0]} with {field}: {', '.join(kinds)}"
    return where if root == "file" else f"{root}: {where}"


def about_of(definition: Schema) -> str:
    """Return the first paragraph of what the model's docstring says."""
    about = " ".join(definition.get("description", "").partition("\n\n")[0].split())
    return f"{about}\n\n" if about else ""


def table(definition: Schema, schema: Schema, titles: dict[str, str]) -> str:
    """Return an object's fields as a Markdown table, with links to the sections of the objects in them."""
    required = definition.get("required", ())
    rows = ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, value in definition.get("properties", {}).items():
        default = "required" if name in required else shown_default(value, schema)
        about = " ".join(value.get("description", "").split()) or OWN_MEANING.get(name, "")
        if not about and definition.get("title") in RAYS:
            about = "Ray Serve's own."
        cells = (f"`{name}`", linked(type_of(value), value, titles), default, about)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def linked(kind: str, value: Schema, titles: dict[str, str]) -> str:
    """Return a type that links to the section of the object in it, if there is exactly one."""
    names = {name for name, _ in references(value, "")}
    if len(names) != 1:
        return kind
    anchor = re.sub(r"[^\w\- ]", "", titles[names.pop()].lower()).replace(" ", "-")
    return re.sub(r"objects?", lambda word: f"[{word[0]}](#{anchor})", kind, count=1)


def shown_default(value: Schema, schema: Schema) -> str:
    """Return a field's default as YAML's flow style; of a nested object only what differs from its own defaults."""
    default = value.get("default")
    names = [name for name, _ in references(value, "")]
    if isinstance(default, dict) and len(names) == 1 and names[0] in schema["$defs"]:
        own = schema["$defs"][names[0]].get("properties", {})
        default = {key: item for key, item in default.items() if item != own.get(key, {}).get("default")}
        default = {key: item for key, item in default.items() if not isinstance(item, dict)}
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def type_of(value: Schema) -> str:
    """Return a type in words, with its limits."""
    if "$ref" in value:
        return "object"
    if options := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(dict.fromkeys(map(type_of, options)))
    if "const" in value or "enum" in value:
        return " or ".join(f"`{json.dumps(item)}`" for item in value.get("enum", [value.get("const")]))
    return ", ".join([base_of(value), *(limit.format(value[key]) for key, limit in LIMITS.items() if key in value)])


def base_of(value: Schema) -> str:
    """Return a type's own name."""
    match value.get("type"):
        case "array":
            items = value.get("items")
            return f"list of {plural(type_of(items))}" if isinstance(items, dict) else "list"
        case "object":
            values = value.get("additionalProperties")
            return f"mapping of names to {plural(type_of(values))}" if isinstance(values, dict) else "mapping"
        case None:
            return "any value"
        case other:
            return {"integer": "whole number", "boolean": "true or false"}.get(other, other)


def plural(name: str) -> str:
    """Return the plural of a type's name, where it is a plain word."""
    return f"{name}s" if name in ("object", "string", "number", "whole number", "list", "mapping") else name


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is out of date")
    if not parser.parse_args().check:
        PAGE.write_text(text(), encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text():
        sys.exit(f"{PAGE} is out of date: run make docs-reference.")


if __name__ == "__main__":
    main()
