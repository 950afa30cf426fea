"""YAML that a user writes; refused if YAML 1.1 would read a value as something else than it looks like."""

import re
from pathlib import Path
from typing import Any

import yaml

from serve_app.common.secrecy import names_secret
from serve_app.errors import ConfigError

_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_TYPES = {"int": "tag:yaml.org,2002:int", "float": "tag:yaml.org,2002:float", "bool": "tag:yaml.org,2002:bool"}
MOST_DIGITS = 1000
"""Most digits of an integer; no setting has more."""
MOST_REPEATED = 100_000
"""Values that aliases may repeat in one file."""


def read_yaml(path: Path, kind: str) -> Any:
    """Return the values in a YAML file; `kind` is its name in messages, such as "config file".

    Raises ConfigError if it cannot be read, and as `parse_yaml` does.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"There is no {kind} {str(path)!r}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The {kind} {str(path)!r} cannot be read: {error}.") from None
    return parse_yaml(text, path, kind)


def parse_yaml(text: str, path: Path, kind: str) -> Any:
    """Return the values in the text of a YAML file.

    Raises ConfigError if it is not YAML, has a key twice, a value that YAML 1.1 reads as something else than it looks
    like (`010` is 8, `2:15` is 135, `on` is true), or aliases that repeat more than any machine holds.
    """
    try:
        return yaml.load(text, _Loader)
    except _UnexpectedError as error:
        raise ConfigError(f"The {kind} {str(path)!r} has {error}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"The {kind} {str(path)!r} is not YAML: {_problem(error)}.") from None
    except RecursionError:
        raise ConfigError(f"The {kind} {str(path)!r} is nested too deeply.") from None
    except (ValueError, LookupError, AttributeError):
        # PyYAML's own, for a date that no calendar has, a number of thousands of digits, or a tag that does not fit.
        raise ConfigError(f"The {kind} {str(path)!r} has a number, a date or a tag that cannot be read.") from None


def _problem(error: yaml.YAMLError) -> str:
    """Return what is wrong and where, without the line itself, which may hold a secret."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "it holds a character that YAML does not allow"
    mark = error.problem_mark
    context = f"{error.context}, " if error.context else ""
    return f"{context}{error.problem} (line {mark.line + 1}, column {mark.column + 1})"


def _size(node: yaml.Node, sizes: dict[int, int | None]) -> int:
    """Return the number of values in a node, with those that aliases repeat. `sizes` has that of each node by its id.

    Raises _UnexpectedError for an alias inside of what it names.
    """
    if id(node) in sizes:
        if (size := sizes[id(node)]) is None:
            raise _UnexpectedError(f"an alias inside of what it names, which begins in line {node.start_mark.line + 1}")
        return size
    sizes[id(node)] = None
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    size = sizes[id(node)] = 1 + sum(_size(child, sizes) for child in children)
    return size


class _UnexpectedError(Exception):
    pass


class _Loader(yaml.SafeLoader):
    """Refuses a duplicate key in a mapping, of which PyYAML silently keeps the last value, and YAML 1.1's surprises.

    It also refuses aliases of aliases that would multiply beyond `MOST_REPEATED` values when something walks them.
    """

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            sizes: dict[int, int | None] = {}
            if _size(node, sizes) - len(sizes) > MOST_REPEATED:
                raise _UnexpectedError(f"aliases that repeat more than {MOST_REPEATED} values")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            line = key.start_mark.line + 1
            if key.value in lines:
                raise _UnexpectedError(f"the key {key.value!r} twice, in line {lines[key.value]} and in line {line}")
            lines[key.value] = line
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if node.tag == _TYPES["int"] and len(node.value) > MOST_DIGITS:
            raise ValueError("Python reads a long hexadecimal number, and refuses to write it in decimal.")
        if node.style is None and (reading := _unexpected(node.tag, node.value)) is not None:
            line = node.start_mark.line + 1
            if names_secret(_key(node.start_mark)):
                raise _UnexpectedError(f"a value in line {line} that YAML 1.1 reads as another one; write it in quotes")
            raise _UnexpectedError(
                f"{node.value} in line {line}, which YAML 1.1 reads as {reading}; write {reading}, "
                f"or '{node.value}' in quotes"
            )
        return node


def _key(mark: Any) -> str:
    """Return what is written before a value in its line."""
    before: str = mark.buffer[: mark.pointer] if mark.buffer else ""
    return before.rpartition("\n")[2].strip(" -:{,")


def _unexpected(tag: str, text: str) -> str | None:
    """Return what YAML 1.1 makes of a plain scalar if that is not what it looks like."""
    if tag == _TYPES["bool"] and text.lower() not in ("true", "false"):
        return "true" if text.lower() in ("yes", "on") else "false"
    if tag in (_TYPES["int"], _TYPES["float"]) and (_OCTAL.fullmatch(text) or _SEXAGESIMAL.fullmatch(text)):
        return str(yaml.safe_load(text))
    return None
