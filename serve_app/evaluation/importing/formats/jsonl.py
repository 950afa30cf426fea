"""Any JSON Lines (or a JSON list), one answer each, by a mapping of our fields to the file's.

    prompt=question,text=answer,id=key,reference=gold,model=llm,metadata.level=meta.level,scores.judge=grade

A field within another is written with dots. `prompt` is a text or a list of messages; `reference` one text or several.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from serve_app.errors import UsageError, choices
from serve_app.evaluation.importing.formats.rows import Row, SourceFile, generation, read_rows, reference, text_id
from serve_app.evaluation.records.example import Example, canonical
from serve_app.evaluation.records.fields import field
from serve_app.files.json_lines import Object

REQUIRED = ("prompt", "text")
FIELDS = (*REQUIRED, "id", "reference", "model", "source", "prompt_tokens", "completion_tokens")
GROUPS = ("metadata", "scores")
"""What takes fields of any name, such as `metadata.level`."""
NAMES = (*FIELDS, *(f"{group}.NAME" for group in GROUPS))


class Mapped:
    """Reads files whose fields a mapping names. Raises UsageError if the mapping is invalid."""

    def __init__(self, mapping: str) -> None:
        self._paths = dict(map(_entry, mapping.split(",")))
        missing = [name for name in REQUIRED if name not in self._paths]
        if ("prompt_tokens" in self._paths) != ("completion_tokens" in self._paths):
            missing += [name for name in ("prompt_tokens", "completion_tokens") if name not in self._paths]
        if missing:
            raise UsageError(f"--map: {missing[0]} is required; write {missing[0]}=FIELD.")

    def __call__(self, files: Sequence[SourceFile]) -> Iterator[Row]:
        """Yield the rows of all files. Raises DataError with file, line and field if one cannot be read."""
        return read_rows(files, self._row)

    def _row(self, file: SourceFile, where: str, body: Object) -> Row:
        # By the names of the file, so that errors name what is in it.
        values = {path: _value(body, path) for path in self._paths.values()}
        answer, counted = generation(field(values, self._paths["text"], str)), "prompt_tokens" in self._paths
        if counted:
            answer = replace(
                answer,
                prompt_tokens=field(values, self._paths["prompt_tokens"], int),
                completion_tokens=field(values, self._paths["completion_tokens"], int),
            )
        model = file.model
        if model is None:
            model = field(values, self._paths["model"], str) if "model" in self._paths else _stem(file)
        scores = {name: field(values, path, float) for name, path in self._group("scores") if values[path] is not None}
        return Row(where, model, self._example(values), answer, counted, scores)

    def _example(self, values: Mapping[str, Any]) -> Example:
        fields = {name: values[path] for name, path in self._paths.items()}
        inputs = {"prompt" if isinstance(fields["prompt"], str) else "messages": fields["prompt"]}
        id_ = text_id(canonical(inputs).decode()) if fields.get("id") is None else str(fields["id"])
        facts = {name: values[path] for name, path in self._group("metadata") if values[path] is not None}
        return Example.read(
            {
                "id": id_,
                "task": "custom",
                "source": "" if fields.get("source") is None else f"{fields['source']}, {id_}",
                "prompt_inputs": inputs,
                "references": list(reference(fields.get("reference"))),
                "metadata": facts,
            }
        )

    def _group(self, group: str) -> Iterator[tuple[str, str]]:
        for name, path in self._paths.items():
            if name.startswith(f"{group}."):
                yield name.partition(".")[2], path


def _entry(entry: str) -> tuple[str, str]:
    name, _, path = (part.strip() for part in entry.partition("="))
    if not name or not path:
        raise UsageError(f"--map: {entry!r} must be OURS=THEIRS, such as prompt=question.")
    group, _, inner = name.partition(".")
    if name not in FIELDS and not (group in GROUPS and inner):
        raise UsageError(f"--map: there is no field {name!r}. {choices(name, NAMES)}")
    return name, path


def _value(body: Object, path: str) -> Any:
    """Return the value at a path such as `usage.prompt_tokens`, or None if it is not there."""
    value: Any = body
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _stem(file: SourceFile) -> str:
    return file.path.name.split(".json")[0]
