"""Several records files -> one: of other models, of other examples, or of both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from serve_app.core.types import Answer
from serve_app.errors import DataError
from serve_app.evaluation.records.complete import check_output, write_complete
from serve_app.evaluation.records.example import Example, digest, sha256_of
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.header import (
    ConfigFacts,
    DataFacts,
    Header,
    PromptFacts,
    SamplingFacts,
    SourceFacts,
)
from serve_app.evaluation.records.lines import answer_body, example_body

T = TypeVar("T")
Files = Sequence[tuple[str, Records]]
"""Records with the names of their files."""


def merge(paths: Sequence[Path], output: Path, *, force: bool = False) -> None:
    """Write the records of all files as one.

    The config is the first file's with the models of all. Raises DataError, which names the files, if two of them
    differ in an example, an answer, a model, a prompt or a limit that both have.
    """
    check_output(output, force=force)
    if len(paths) < 2:
        raise DataError("Name at least two records files to merge.")
    files = [(str(path), Records.load(path)) for path in paths]
    examples = _union("the example", [(name, _by_id(records)) for name, records in files])
    answers = _union("the answer", [(name, dict(_answers(records))) for name, records in files])
    header = _header(files, list(examples.values()))
    lines = (answer_body(example, model, answer, scores) for (model, example), (answer, scores) in answers.items())
    write_complete(output, [header.body(), *map(example_body, examples.values()), *lines])


def _by_id(records: Records) -> dict[str, Example]:
    return {example.id: example for example in records.examples}


def _answers(records: Records) -> Iterator[tuple[tuple[str, str], tuple[Answer, Mapping[str, float]]]]:
    """Yield every answer and its scores, by its model and the id of its example."""
    for model, column in records.answers.items():
        for index, (example, answer) in enumerate(zip(records.examples, column, strict=True)):
            if answer is not None:
                yield (model, example.id), (answer, column.scores(index))


def _header(files: Files, examples: Sequence[Example]) -> Header:
    headers = [records.header for _, records in files]
    named = list(zip((name for name, _ in files), headers, strict=True))
    texts = _union("the prompt for", [(name, header.prompts.texts) for name, header in named])
    limits = _union("max_tokens of", [(name, header.sampling.max_tokens) for name, header in named])
    written = dict(headers[0].config.args)
    written["models"] = _union("the config of", [(name, header.config.models) for name, header in named])
    sampling = [header.sampling for header in headers]
    asked = [header.asked for header in headers]
    return replace(
        headers[0],
        created=max(header.created for header in headers),
        config=ConfigFacts(sha256_of(written), written),
        data=DataFacts(digest(examples), len(examples), _each(file for it in headers for file in it.data.files)),
        prompts=PromptFacts(sha256_of(texts), texts),
        sampling=SamplingFacts(
            _common([it.temperature for it in sampling]), _common([it.logprobs for it in sampling]), limits
        ),
        asked=SourceFacts(", ".join(_each(it.through for it in asked)), _common([it.concurrency for it in asked])),
        models=_union("the model", [(name, header.models) for name, header in named]),
        versions=_versions(headers),
    )


def _union(what: str, parts: Sequence[tuple[str, Mapping[Any, T]]]) -> dict[Any, T]:
    """Return all entries of several files. Raises DataError if two files have different values under one key."""
    union: dict[Any, T] = {}
    origins: dict[Any, str] = {}
    for file, entries in parts:
        for key, value in entries.items():
            if key in union and union[key] != value:
                name = " to ".join(map(repr, key)) if isinstance(key, tuple) else repr(key)
                raise DataError(f"{origins[key]} and {file} differ in {what} {name}, so they cannot be merged.")
            if key not in union:
                union[key], origins[key] = value, file
    return union


def _each(values: Any) -> list[str]:
    return list(dict.fromkeys(values))


def _common(values: Sequence[T | None]) -> T | None:
    """Return the value that all share, or None if they differ."""
    return values[0] if all(value == values[0] for value in values) else None


def _versions(headers: Sequence[Header]) -> dict[str, str]:
    names = _each(name for header in headers for name in header.versions)
    return {name: ", ".join(_each(it.versions[name] for it in headers if name in it.versions)) for name in names}
