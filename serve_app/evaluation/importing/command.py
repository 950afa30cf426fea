"""`cascade import`: files of recorded answers -> one records file, as if `cascade collect` had written it."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_app.config.models import ModelFacts as WrittenFacts
from serve_app.core.sampling import base_name
from serve_app.errors import DataError, UsageError, counted
from serve_app.evaluation.importing.assemble import Imported, assemble, failures
from serve_app.evaluation.importing.facts import Setup, configured, read_facts, replayed
from serve_app.evaluation.importing.formats.catalogue import reader
from serve_app.evaluation.importing.formats.rows import SourceFile
from serve_app.evaluation.importing.named_path import named_path
from serve_app.evaluation.importing.progress import ImportProgress
from serve_app.evaluation.importing.tokens import TokenCounter, read_tokenizers
from serve_app.evaluation.records.complete import write_complete
from serve_app.evaluation.records.example import digest, sha256_of
from serve_app.evaluation.records.header import (
    ConfigFacts,
    DataFacts,
    Header,
    ModelFacts,
    PromptFacts,
    SamplingFacts,
    SourceFacts,
)
from serve_app.evaluation.records.lines import answer_body, example_body
from serve_app.evaluation.records.tasks import Prompts
from serve_app.files.output import check_output

if TYPE_CHECKING:
    from rich.console import Console

THROUGH = "import"
"""The source of answers in the header."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to import. `models` is a file of sizes and prices, `config` a serving config with all models: not both.

    `mapping` describes the format jsonl.
    """

    format: str | None = None
    mapping: str | None = None
    models: Path | None = None
    config: Path | None = None
    target: str | None = None
    tokenizers: tuple[str, ...] = ()
    force: bool = False


def import_records(sources: Sequence[str], output: Path, options: Options, console: "Console") -> None:
    """Read all sources and write them as records; print progress and a summary to `console`.

    Raises UsageError for options, DataError or ConfigError, with file, row and field, for what cannot be read; then
    nothing is written.
    """
    files = [_source_file(source) for source in sources]
    check_output(output, force=options.force, inputs=tuple(file.path for file in files))
    if options.config is not None and (options.models is not None or options.target is not None):
        raise UsageError("--config has sizes, prices and cascades: leave out --models and --target.")
    facts = {} if options.models is None else read_facts(options.models)
    counter = TokenCounter(read_tokenizers(options.tokenizers))
    read_files = reader(files, options.format, options.mapping)
    with ImportProgress(console) as progress:
        imported = assemble(progress.count(read_files(files)))
    if not imported.examples:
        raise DataError(f"No answers in {', '.join(sources)}.")
    models = list(imported.answers)
    counter.check_models(list(dict.fromkeys(map(base_name, models))))
    setup = replayed(models, facts, options.target) if options.config is None else configured(options.config, models)
    lines = _lines(imported, counter)
    write_complete(output, [_header(imported, setup, sources).body(), *lines])
    for sentence in _summary(imported, setup, output, estimated=any(line.get("estimated") for line in lines)):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _source_file(source: str) -> SourceFile:
    name, path = named_path(source)
    return SourceFile(path, name)


def _lines(imported: Imported, counter: TokenCounter) -> list[dict[str, Any]]:
    lines = [example_body(example) for example in imported.examples.values()]
    for model, column in imported.answers.items():
        for id_, row in column.items():
            lines.append(answer_body(id_, model, counter.counted(row, base_name(model)), row.scores))
    return lines


def _header(imported: Imported, setup: Setup, sources: Sequence[str]) -> Header:
    examples = imported.examples.values()
    prompts = Prompts()
    texts = {
        task: prompts.template(task) for task in sorted({example.task for example in examples}) if task != "custom"
    }
    return Header(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=ConfigFacts(sha256_of(setup.written), setup.written),
        data=DataFacts(digest(examples), len(examples), list(sources)),
        prompts=PromptFacts(sha256_of(texts), texts),
        sampling=SamplingFacts(None, None, {}),
        asked=SourceFacts(THROUGH, None),
        models={name: _facts(setup, name) for name in setup.config.models_and_samples() if name in imported.answers},
        versions={
            "python": ".".join(map(str, sys.version_info[:3])),
            "semantic-cascade": metadata.version("semantic-cascade"),
        },
    )


def _facts(setup: Setup, name: str) -> ModelFacts:
    model = setup.config.model(name)
    return ModelFacts(None, model.parameters, model.active_parameters, model.cost(), None, None)


def _summary(imported: Imported, setup: Setup, output: Path, *, estimated: bool) -> Iterator[str]:
    count = sum(map(len, imported.answers.values()))
    yield (
        f"{counted(count, 'answer')} of {counted(len(imported.answers), 'model')} to "
        f"{counted(len(imported.examples), 'example')} written to {output}: "
        f"{', '.join(name for name in setup.config.models_and_samples() if name in imported.answers)}."
    )
    for model, number in failures(imported):
        yield f"Failures of {model}: {counted(number, 'answer')}."
    for model, column in imported.answers.items():
        if missing := len(imported.examples) - len(column):
            yield f"{model} has no answer to {counted(missing, 'example')}, left out of its evaluation."
    if estimated:
        yield "Token counts are estimated from lengths, and marked so; --tokenizer counts them."
    unpriced = [name for name in imported.answers if _unpriced(setup.config.model(name))]
    if unpriced:
        yield f"No size or price: {', '.join(unpriced)}; costs in FLOPs and dollars need them (--models)."


def _unpriced(facts: WrittenFacts) -> bool:
    prices = facts.input_usd, facts.output_usd, facts.usd_per_device_hour
    return facts.parameters is None and all(price is None for price in prices)
