"""Values of every kind that the API's document has, in words."""

from typing import Any

import pytest

from serve_app.api.reference.schema_words import prose, type_words


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "minLength": 1}, "string (at least 1 character)"),
        ({"type": "integer", "minimum": 1.0, "maximum": 2147483647.0}, "whole number (1 to 2147483647)"),
        (
            {"type": "integer", "minimum": -(2.0**63), "exclusiveMaximum": 2.0**63},
            "whole number (at least -9.2e+18, below 9.2e+18)",
        ),
        ({"type": "number", "exclusiveMinimum": 0}, "number (above 0)"),
        ({"type": "number", "maximum": 0.5}, "number (at most 0.5)"),
        ({"type": "boolean"}, "true or false"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string"),
        ({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}, "string or list of string"),
        ({"type": "string", "enum": ["none", "auto"]}, '<code>"none"</code> or <code>"auto"</code>'),
        ({"type": "string", "const": "user"}, '<code>"user"</code>'),
        ({"$ref": "#/components/schemas/a__b__Tool"}, '<a href="#a__b__Tool">Tool</a>'),
        (
            {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "number"}]}, "minItems": 1},
            "list of (string or number) (at least 1 entry)",
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 16},
            "object whose values are string (at most 16 entries)",
        ),
        ({"type": "object", "additionalProperties": True}, "object"),
        ({"type": "string", "pattern": "^<x>$"}, "string (by the pattern <code>^&lt;x&gt;$</code>)"),
        ({"title": "Value"}, "anything"),
    ],
)
def test_a_schema_in_words(schema: dict[str, Any], words: str) -> None:
    assert type_words(schema) == words


def test_prose_is_escaped_and_its_backticks_are_code() -> None:
    assert prose("`a < b` & <b>") == "<code>a &lt; b</code> &amp; &lt;b&gt;"
