"""Several records files -> one: of other models, of other examples, or of both."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import eq
from pathlib import Path
from typing import Any, TypeVar

from serve_app.core.sampling import Sample
from serve_app.errors import DataError, UsageError
from serve_app.evaluation.records.answers import Answers
from serve_app.evaluation.records.complete import write_complete
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
from serve_app.files.output import check_output

T = TypeVar("T")
Files = Sequence[tuple[str, Records]]
"""Records with the names of their files."""
Cell = tuple[Answers, int]
"""A model's answers and the index of one of them."""


def merge(paths: Sequence[Path], output: Path, *, force: bool = False) -> None:
    """Write the records of all files as one.

    The config is the first file's with the models of all. Raises DataError, which names the files, if two of them
    differ in an example, an answer, a model, a prompt or a limit that both have, or if the first one's cascades lack
    samples of another.
    """
    check_output(output, force=force)
    if len(paths) < 2:
        raise UsageError("Name at least two records files to merge.")
    files = [(str(path), Records.load(path)) for path in paths]
    examples = _union("the example", [(name, _by_id(records)) for name, records in files])
    answers = _union("the answer", [(name, dict(_answers(records))) for name, records in files], _same)
    header = _header(files, list(examples.values()))
    lines = (_body(cell, model, example) for (model, example), cell in answers.items())
    write_complete(output, chain([header.body()], map(example_body, examples.values()), lines))


def _by_id(records: Records) -> dict[str, Example]:
    return {example.id: example for example in records.examples}


def _answers(records: Records) -> Iterator[tuple[tuple[str, str], Cell]]:
    """Yield where every answer is, by its model and the id of its example."""
    for model, column in records.answers.items():
        for index, example in enumerate(records.examples):
            if column.without_logprobs(index) is not None:
                yield (model, example.id), (column, index)


def _body(cell: Cell, model: str = "", example: str = "") -> Mapping[str, Any]:
    """Return the line of an answer. Log-probabilities are unpacked for it alone: all at once would fill the memory."""
    column, index = cell
    answer = column[index]
    assert answer is not None
    return answer_body(example, model, answer, column.scores(index))


def _same(first: Cell, second: Cell) -> bool:
    """Return whether two answers have the same line: an unknown latency, NaN, equals itself only as written."""
    return _body(first) == _body(second)


def _header(files: Files, examples: Sequence[Example]) -> Header:
    headers = [records.header for _, records in files]
    headers_by_file = list(zip((name for name, _ in files), headers, strict=True))
    texts = _union("the prompt for", [(name, header.prompts.texts) for name, header in headers_by_file])
    limits = _union("max_tokens of", [(name, header.sampling.max_tokens) for name, header in headers_by_file])
    args = dict(headers[0].config.args)
    args["models"] = _union("the config of", [(name, header.config.models) for name, header in headers_by_file])
    _check_samples([(name, header.samples()) for name, header in headers_by_file])
    sampling = [header.sampling for header in headers]
    sources = [header.asked for header in headers]
    return replace(
        headers[0],
        created=max(header.created for header in headers),
        config=ConfigFacts(sha256_of(args), args),
        data=DataFacts(
            digest(examples), len(examples), _unique(file for header in headers for file in header.data.files)
        ),
        prompts=PromptFacts(sha256_of(texts), texts),
        sampling=SamplingFacts(
            _common([facts.temperature for facts in sampling]), _common([facts.logprobs for facts in sampling]), limits
        ),
        asked=SourceFacts(
            ", ".join(_unique(source.through for source in sources)),
            _common([source.concurrency for source in sources]),
        ),
        models=_union("the model", [(name, header.models) for name, header in headers_by_file]),
        versions=_versions(headers),
    )


def _check_samples(samples_by_file: Sequence[tuple[str, Mapping[str, Sample]]]) -> None:
    """Raise DataError if samples were drawn unlike others of their name, or if the merged file would not say how.

    How samples were drawn is in the tiers of the config, which is the first file's.
    """
    _union("the sampling of", samples_by_file)
    (first, described), *later_files = samples_by_file
    for name, samples in later_files:
        if missing := [sample for sample in samples if sample not in described]:
            raise DataError(
                f"{name} has samples that no tier of {first} has: {', '.join(missing)}. The cascades of the first file "
                f"say how samples were drawn; name {name} first."
            )


def _union(label: str, parts: Sequence[tuple[str, Mapping[Any, T]]], same: Callable[[T, T], bool] = eq) -> dict[Any, T]:
    """Return all entries of several files. Raises DataError if under one key two values are not the `same`."""
    union: dict[Any, T] = {}
    origins: dict[Any, str] = {}
    for file, entries in parts:
        for key, value in entries.items():
            if key in union and not same(union[key], value):
                name = " to ".join(map(repr, key)) if isinstance(key, tuple) else repr(key)
                raise DataError(f"{origins[key]} and {file} differ in {label} {name}, so they cannot be merged.")
            if key not in union:
                union[key], origins[key] = value, file
    return union


def _unique(values: Any) -> list[str]:
    return list(dict.fromkeys(values))


def _common(values: Sequence[T | None]) -> T | None:
    """Return the value that all share, or None if they differ."""
    return values[0] if all(value == values[0] for value in values) else None


def _versions(headers: Sequence[Header]) -> dict[str, str]:
    names = _unique(name for header in headers for name in header.versions)
    return {
        name: ", ".join(_unique(header.versions[name] for header in headers if name in header.versions))
        for name in names
    }
