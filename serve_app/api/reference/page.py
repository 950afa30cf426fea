"""The reference as one HTML page, without scripts, of an OpenAPI document."""

import base64
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from serve_app.api.reference.schema_words import Schema, code, object_name, prose, title, type_words

STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
STYLE_SOURCE = f"'sha256-{base64.b64encode(sha256(STYLE.encode()).digest()).decode()}'"
"""How a content security policy allows the style of this page, and no other."""
NO_DEFAULT: tuple[object, ...] = (None, [])


def reference_page(document: Mapping[str, Any]) -> str:
    """Return the page about all operations of an OpenAPI document, and the objects of their bodies."""
    info = document["info"]
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    objects = document["components"]["schemas"]
    description = "".join(f"<p>{prose(part)}</p>" for part in info["description"].split("\n\n"))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>API of {escape(info["title"])}</title>\n<link rel="icon" href="data:,">\n<style>{STYLE}</style>\n'
        f"</head>\n<body>\n<main>\n<h1>API of {escape(info['title'])} {escape(info['version'])}</h1>\n{description}\n"
        f'<p>The same for programs: <a href="openapi.json">openapi.json</a>. A null counts as an absent field; a field '
        f"that is not listed is refused by name, unless its value asks for nothing.</p>\n"
        f'<nav aria-label="Operations"><ul>{"".join(_entry(*each) for each in operations)}</ul></nav>\n'
        f"{''.join(_operation(*each, objects) for each in operations)}"
        f"<h2>Objects</h2>\n{''.join(_object(name, schema) for name, schema in _beside_bodies(operations, objects))}"
        f"</main>\n</body>\n</html>\n"
    )


def _entry(method: str, path: str, operation: Schema) -> str:
    link = f'<a href="#{_anchor(method, path)}"><b>{method}</b> {escape(path)}</a>'
    return f"<li>{link} {prose(operation['summary'])}</li>\n"


def _operation(method: str, path: str, operation: Schema, objects: Mapping[str, Schema]) -> str:
    name = _body(operation)
    parameters = {each["name"]: each["schema"] | {"in": each["in"]} for each in operation.get("parameters", [])}
    required = [each["name"] for each in operation.get("parameters", []) if each.get("required")]
    label = f"{method} {escape(path)}"
    return (
        f'<section id="{_anchor(method, path)}"><h2><b>{method}</b> {escape(path)}</h2>\n'
        f"<p>{prose(operation['summary'])}.</p>\n"
        f"{_fields(parameters, required, f'Parameters of {label}')}"
        f"{'' if name is None else _members(objects[name], f'Fields of {label}')}</section>\n"
    )


def _object(name: str, schema: Schema) -> str:
    heading = escape(title(name))
    about = f"<p>{prose(schema['description'])}</p>\n" if "description" in schema else ""
    members = _members(schema, f"Fields of {heading}")
    return f'<section id="{escape(name)}"><h3>{heading}</h3>\n{about}{members}</section>\n'


def _members(schema: Schema, label: str) -> str:
    if "properties" not in schema:
        return f"<p>{type_words(schema)}</p>\n"
    return _fields(schema["properties"], schema.get("required", []), label)


def _fields(fields: Mapping[str, Schema], required: list[str], label: str) -> str:
    if not fields:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("field", "value", "about"))
    rows = "".join(_row(name, schema, name in required) for name, schema in fields.items())
    return (
        f'<div tabindex="0" role="region" aria-label="{label}"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{rows}</tbody></table></div>\n"
    )


def _row(name: str, schema: Schema, required: bool) -> str:
    about = [f"In the {schema['in']}."] if "in" in schema else []
    about += [prose(schema["description"])] if "description" in schema else []
    # The default of an object is that of each of its fields.
    if not required and (default := schema.get("default")) not in NO_DEFAULT and not isinstance(default, dict):
        about.append(f"By default {code(default)}.")
    mark = " <em>required</em>" if required else ""
    cells = f"<td>{type_words(schema)}</td><td>{' '.join(about)}</td>"
    return f'<tr><th scope="row"><code>{escape(name)}</code>{mark}</th>{cells}</tr>\n'


def _beside_bodies(
    operations: list[tuple[str, str, Schema]], objects: Mapping[str, Schema]
) -> Iterator[tuple[str, Schema]]:
    """Yield the objects that are parts of bodies, and none themselves."""
    bodies = {_body(operation) for _, _, operation in operations}
    yield from ((name, schema) for name, schema in objects.items() if name not in bodies)


def _body(operation: Schema) -> str | None:
    """Return the name of the object that the operation takes as its body, or None."""
    if "requestBody" not in operation:
        return None
    return object_name(operation["requestBody"]["content"]["application/json"]["schema"]["$ref"])


def _anchor(method: str, path: str) -> str:
    return f"{method.lower()}{path.replace('/', '-').replace('{', '').replace('}', '')}"
