"""What is in a records file: models, examples, scores, metadata, and which counts are estimates."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isnan
from statistics import mean
from typing import TYPE_CHECKING, Any

from serve_app.core.types.answer import Generation
from serve_app.errors import counted
from serve_app.evaluation.records.file import Records

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One model's answers: how many of what kind, mean tokens, and the mean of each score; None without answers.

    `estimated`: answers whose tokens nobody counted; `untimed`: those whose latency nobody measured.
    """

    model: str
    parameters: float | None
    answers: int
    failures: int
    estimated: int
    untimed: int
    logprobs: int
    prompt_tokens: float | None
    completion_tokens: float | None
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Summary:
    """A records file in numbers. `data_sets` by source and task; `metadata` has the number of values of each field."""

    asked: str
    created: str
    data_sha256: str
    files: list[str]
    examples: int
    complete: int
    data_sets: dict[str, int]
    without_references: int
    metadata: dict[str, int]
    cascades: list[str]
    models: list[ModelSummary]

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def summarise(records: Records) -> Summary:
    """Return what is in the records."""
    header, examples = records.header, records.examples
    data_sets = Counter(f"{example.source.split(',', 1)[0].strip() or '-'} ({example.task})" for example in examples)
    values: dict[str, set[str]] = {}
    for example in examples:
        for name, value in example.metadata.items():
            values.setdefault(name, set()).add(repr(value))
    return Summary(
        asked=header.asked.through,
        created=header.created,
        data_sha256=header.data.digest,
        files=header.data.files,
        examples=len(examples),
        complete=len(records.complete()),
        data_sets=dict(data_sets),
        without_references=sum(not example.references for example in examples),
        metadata={name: len(different) for name, different in sorted(values.items())},
        cascades=[
            f"{id_}: {' -> '.join(' + '.join(tier.models) for tier in cascade.tiers)}"
            for id_, cascade in records.config.cascades.items()
        ],
        models=[_model(records, model) for model in records.models],
    )


def _model(records: Records, model: str) -> ModelSummary:
    column = records.answers[model]
    answers = [answer for k in range(len(column)) if (answer := column.without_logprobs(k)) is not None]
    texts = [answer for answer in answers if isinstance(answer, Generation)]
    scores = {
        name: [score for score in records.scores(name, model) if score is not None] for name in records.score_names
    }
    return ModelSummary(
        model=model,
        parameters=records.costs[model].parameters,
        answers=len(answers),
        failures=len(answers) - len(texts),
        estimated=sum(answer.estimated for answer in answers),
        untimed=sum(isnan(answer.latency_s) for answer in answers),
        logprobs=sum(column.logprobs(k) is not None for k in range(len(column))),
        prompt_tokens=mean(answer.prompt_tokens for answer in texts) if texts else None,
        completion_tokens=mean(answer.completion_tokens for answer in texts) if texts else None,
        scores={name: mean(values) for name, values in scores.items() if values},
    )


def render(summary: Summary, console: "Console") -> None:
    """Print the summary as two tables and sentences; all files are only in the JSON."""
    from rich.table import Table
    from rich.text import Text

    def table(title: str, *columns: str) -> Table:
        result = Table(title=title, box=None, title_justify="left", title_style="bold", pad_edge=False)
        for number, column in enumerate(columns):
            result.add_column(column, justify="right" if number else "left", overflow="fold")
        return result

    names = list(dict.fromkeys(name for model in summary.models for name in model.scores))
    counted = ("answers", "failed", "estimated", "untimed", "log-probs")
    models = table("Models", "model", "parameters", *counted, "prompt tokens", "answer tokens", *names)
    for model in summary.models:
        scores = [_number(model.scores.get(name), ".4f") for name in names]
        tokens = [_number(value, ".0f") for value in (model.prompt_tokens, model.completion_tokens)]
        counts = (model.answers, model.failures, model.estimated, model.untimed, model.logprobs)
        models.add_row(Text(model.model), _number(model.parameters, ".3g"), *map(str, counts), *tokens, *scores)
    examples = table("Examples", "data set (task)", "examples")
    for name, count in summary.data_sets.items():
        examples.add_row(Text(name), str(count))
    console.print(models)
    console.print()
    console.print(examples)
    console.print()
    for sentence in _sentences(summary):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _sentences(summary: Summary) -> Iterator[str]:
    yield f"{summary.complete} of {summary.examples} examples are answered by every model."
    if summary.without_references:
        yield f"Without references: {counted(summary.without_references, 'example')}."
    if summary.metadata:
        fields = (f"{name} ({counted(count, 'value')})" for name, count in summary.metadata.items())
        yield f"Metadata: {', '.join(fields)}."
    if any(model.estimated for model in summary.models):
        yield "Estimated: answers whose tokens nobody counted. Tokens are means."
    if any(model.untimed for model in summary.models):
        yield "Untimed: answers whose latency nobody measured, so their costs in seconds are unknown."
    yield from (f"Cascade {cascade}." for cascade in summary.cascades)
    first, *later_files = summary.files or ["no file"]
    more = f" and {len(later_files)} more" if later_files else ""
    yield f"Asked through {summary.asked}, {summary.created}; data {summary.data_sha256[:12]} of {first}{more}."


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
