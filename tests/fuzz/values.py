"""Random JSON: any value, and values that a JSON schema of pydantic's allows or nearly allows."""

import string
from random import Random
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

TEXTS = (
    *(
        "",
        " ",
        "Hi",
        "Capital of France?",
        "\n",
        "\x00",
        "é",
        "你好",
        "🎉",
        "\ud83d",
        "\u2028",
        "null",
        "0",
        "{}",
        "[1",
        "a" * 3000,
    ),
    *("default", "a", "b", "t", "user", "assistant", "tool", "system", "function", "text", "auto", "required", "none"),
    *("json_schema", "json_object", "strict", "object", "string", "integer", "#/$defs/x", "^(a+)+$", "(?=a)", "\\d{5}"),
)
NUMBERS = (0, 1, -1, 2, 5, 40, 0.5, 1.0, 1e-9, 2**31, 2**63, -(2**63) - 1, 10**30, 1e308, -0.0, 1.5e300)
NAMED: dict[str, tuple[Any, ...]] = {
    "model": (*("default",) * 9, "a", "t", "t", "defualt", ""),
    "role": ("user", "user", "user", "assistant", "system", "developer", "tool"),
    "name": ("f", "get_weather", "x y", ""),
}
"""Likely values of fields whose schema says only that they are strings."""
LIKELY = {"content"}
"""Fields that a schema does not require, and a request does."""
KEYS = (
    "type",
    "properties",
    "items",
    "enum",
    "$ref",
    "anyOf",
    "pattern",
    "minimum",
    "required",
    "format",
    "a",
    "b",
    "",
)
DEPTH = 6


def text(random: Random) -> str:
    if random.random() < 0.7:
        return random.choice(TEXTS)
    return "".join(random.choices(string.printable + "äß€𝄞\u200d", k=random.randint(0, 40)))


def anything(random: Random, depth: int = 0) -> Any:
    """Return any JSON value, small and not deep."""
    kind = random.randrange(4 if depth >= DEPTH else 6)
    if kind == 0:
        return random.choice((None, True, False))
    if kind == 1:
        return random.choice(NUMBERS)
    if kind < 4:
        return text(random)
    size = random.choice((0, 1, 1, 2, 3, 5))
    if kind == 4:
        return [anything(random, depth + 1) for _ in range(size)]
    names = [random.choice(KEYS) if random.random() < 0.7 else text(random) for _ in range(size)]
    return {name: anything(random, depth + 1) for name in names}


class Generator:
    """Makes values by a schema whose references lead into its `$defs`."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._defs: dict[str, Schema] = schema.get("$defs", {})

    def body(self, random: Random) -> Any:
        return self._value(self._schema, random, "", 0)

    def field(self, random: Random) -> tuple[str, Any]:
        """Return the name of any field of any model in the schema, with a value that it nearly allows."""
        fields = random.choice([schema["properties"] for schema in self._defs.values() if schema.get("properties")])
        name = random.choice(list(fields))
        return name, self._value(fields[name], random, name, 1)

    def _value(self, schema: Schema, random: Random, name: str, depth: int) -> Any:
        if "$ref" in schema:
            return self._value(self._defs[schema["$ref"].rpartition("/")[2]], random, name, depth)
        if alternatives := schema.get("anyOf") or schema.get("oneOf"):
            return self._value(random.choice(alternatives), random, name, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return random.choice(schema["enum"])
        match schema.get("type"):
            case "object":
                return self._object(schema, random, depth)
            case "array":
                length = random.randint(schema.get("minItems", 0), max(schema.get("minItems", 0), 2))
                return [self._value(schema.get("items", {}), random, name, depth + 1) for _ in range(length)]
            case "string":
                return random.choice(NAMED[name]) if name in NAMED else text(random)
            case "integer" | "number" as kind:
                return _number(schema, random, whole=kind == "integer")
            case "boolean":
                return random.random() < 0.5
            case "null":
                return None
        return anything(random, depth + 1)

    def _object(self, schema: Schema, random: Random, depth: int) -> Any:
        fields = schema.get("properties")
        if fields is None:
            return {text(random)[:20]: text(random) for _ in range(random.choice((0, 0, 1, 2)))}
        required = set(schema.get("required", ()))
        share = random.choice((0.0, 0.03, 0.1, 0.3)) if depth == 0 else random.choice((0.0, 0.1, 0.4))
        required |= LIKELY if random.random() < 0.9 else set()
        chosen = [name for name in fields if name in required or random.random() < share]
        return {name: self._value(fields[name], random, name, depth + 1) for name in chosen}


def _number(schema: Schema, random: Random, *, whole: bool) -> Any:
    low, high = schema.get("minimum", 0), schema.get("maximum", 100)
    if random.random() < 0.1:
        return random.choice((low, high))
    return random.randint(int(low), int(min(high, low + 1000))) if whole else random.uniform(low, high)
