"""Fields of examples by which results are grouped and examples chosen: `task`, `source`, `metadata.NAME`."""

import json
from collections.abc import Iterable, Sequence

from serve_app.errors import UsageError, choices
from serve_app.evaluation.records.example import Example

FIELDS = ("task", "source")
METADATA = "metadata."
MISSING = "none"
"""The value of examples that lack a field, in the names of groups and in conditions."""

SHOWN = 50
"""Values that are listed if a condition names another one, at most."""


def data_set(example: Example) -> str:
    """Return the data set that an example's `source` names, before the position in it; else its task."""
    return example.source.split(",", 1)[0].strip() or example.task


def value(example: Example, field: str) -> str:
    """Return a field's value as text: of the source the data set, of other values than texts their JSON."""
    if field == "task":
        return example.task
    if field == "source":
        return data_set(example)
    item = example.metadata.get(field.removeprefix(METADATA))
    if item is None:
        return MISSING
    return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)


def check_field(field: str, examples: Iterable[Example], option: str) -> None:
    """Raise UsageError, which names the option, if no example has the field."""
    available = {*FIELDS, *(METADATA + name for example in examples for name in example.metadata)}
    if field not in available:
        raise UsageError(f"{option}: no example has a field {field!r}. {choices(field, available)}")


def matching(examples: Sequence[Example], conditions: Sequence[str]) -> list[int]:
    """Return the indices of the examples that meet all conditions, `FIELD=VALUE` each.

    Conditions on the same field are alternatives. Raises UsageError if a field or a value does not occur.
    """
    allowed: dict[str, set[str]] = {}
    for condition in conditions:
        field, separator, text = (part.strip() for part in condition.partition("="))
        if not separator:
            raise UsageError(f"--where: {condition!r} must be FIELD=VALUE, such as task=translation.")
        check_field(field, examples, "--where")
        values = {value(example, field) for example in examples}
        if text not in values:
            available = choices(text, values) if len(values) <= SHOWN else f"There are {len(values)} others."
            raise UsageError(f"--where {condition}: no example has this {field}. {available}")
        allowed.setdefault(field, set()).add(text)
    meets = (all(value(example, field) in values for field, values in allowed.items()) for example in examples)
    rows = [row for row, met in enumerate(meets) if met]
    if not rows:
        raise UsageError(f"No example meets {' and '.join(conditions)} at once.")
    return rows
