"""Which examples are evaluated together, and the quality of the answers to them by each metric."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np

from serve_app.config import AppConfig
from serve_app.core.types.answer import Answer, Generation
from serve_app.errors import UsageError
from serve_app.evaluation.analysis.dataset import POOLED, Group
from serve_app.evaluation.analysis.example_fields import check_field, data_set, value
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.similarities import plain_signals
from serve_app.evaluation.metrics.catalogue import MetricCatalogue, check_labels, metrics_for
from serve_app.evaluation.metrics.quality import qualities
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.tasks import OFFICIAL_METRICS, TASKS
from serve_app.evaluation.statistics.curves import Floats
from serve_app.signals import AnySignalConfig


def groups(
    config: AppConfig,
    options: Options,
    signals: Mapping[str, AnySignalConfig],
    records: Records,
    rows: Sequence[int],
    answers: Mapping[str, Sequence[Answer]],
) -> Iterator[Group]:
    """Yield one group for each value of the field to group by, and one of all examples if there are several."""
    examples = [records.examples[row] for row in rows]
    check_field(options.by, examples, "--by")
    names = [value(example, options.by) for example in examples]
    indices: dict[str, list[int]] = {}
    for k, name in enumerate(names):
        indices.setdefault(name, []).append(k)
    check_labels(options.metrics or (), _labels(examples))
    catalogue = MetricCatalogue(config, records.score_names)
    plain = {signal.kind for signal in plain_signals(config, signals).values()}
    graded_groups = []
    for name, index in indices.items():
        graded = [examples[k] for k in index]
        score_names = _scores_of_all(records, [rows[k] for k in index], answers)
        metrics = _metrics(catalogue, options, plain, graded, score_names)
        if not metrics and not options.references_required:
            yield Group(POOLED, (), np.arange(len(examples)), {})
            return
        columns = {model: [column[k] for k in index] for model, column in answers.items()}
        quality = {}
        for metric in metrics:
            if catalogue.is_score(metric):
                values = {
                    model: _recorded_scores(records, metric, model, [rows[k] for k in index]) for model in columns
                }
            else:
                values = qualities(catalogue.build(metric), graded, columns)
            quality[metric] = {model: _spread(column, index, len(examples)) for model, column in values.items()}
        kinds = {metric: frozenset({catalogue.kind(metric)}) for metric in metrics}
        binary = frozenset(metric for metric in metrics if catalogue.binary(metric))
        graded_groups.append(Group(name, metrics, np.array(index, dtype=np.intp), quality, binary, kinds))
    yield from graded_groups
    if len(graded_groups) > 1:
        yield _pooled(graded_groups)


def _labels(examples: Sequence[Example]) -> set[str]:
    """Return the labels by which a user may name examples: tasks, and data sets with and without a suffix."""
    data_sets = {data_set(example) for example in examples}
    short = (re.split(r"[ .]", name, maxsplit=1)[0] for name in data_sets)
    return {*(example.task for example in examples), *data_sets, *short}


def _metrics(
    catalogue: MetricCatalogue,
    options: Options,
    kinds: Collection[str],
    examples: Sequence[Example],
    scores: tuple[str, ...],
) -> tuple[str, ...]:
    """Return the requested metrics, else the config's for these tasks, else the tasks' own.

    A metric that is also a signal, one of `kinds`, does not grade alone: a second metric is added to it. Examples
    without references have the `scores` that all of their answers carry, or no metric if there are none.
    """
    tasks = list(dict.fromkeys(example.task for example in examples))
    labels = _labels(examples)
    requested = metrics_for(options.metrics or (), labels)
    if not all(example.references for example in examples):
        if scores and not requested:
            return scores
        if not requested and not options.references_required:
            return ()
    official = (metrics for name, metrics in OFFICIAL_METRICS.items() if name in labels)
    default_metrics = next(official, tuple(dict.fromkeys(metric for task in tasks for metric in TASKS[task].metrics)))
    names = requested or catalogue.own_for(labels) or default_metrics
    if len(names) == 1 and not catalogue.is_score(names[0]) and catalogue.build(names[0]).kind in kinds:
        return (*names, *[metric for metric in default_metrics if metric != names[0]][:1])
    return names


def _scores_of_all(records: Records, rows: Sequence[int], models: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the scores that every answer of these models to these examples carries."""
    names = set(records.score_names)
    for model in models if names else ():
        column = records.answers[model]
        for row in rows:
            if isinstance(column.without_logprobs(row), Generation):
                names &= column.scores(row).keys()
    return tuple(sorted(names))


def _recorded_scores(records: Records, name: str, model: str, rows: Sequence[int]) -> list[float]:
    """Return a score of a model's answers to some examples; 0 for a failure.

    Raises UsageError if an answer lacks it.
    """
    column, scores = records.answers[model], records.scores(name, model)
    for row in rows:
        if scores[row] is None and isinstance(column.without_logprobs(row), Generation):
            example = records.examples[row].id
            raise UsageError(f"--metric {name}: the answer of {model!r} to the example {example!r} has no such score.")
    return [scores[row] or 0.0 for row in rows]


def _spread(values: Sequence[float], index: Sequence[int], examples: int) -> Floats:
    """Return (n,): the values at `index`, NaN elsewhere."""
    column = np.full(examples, np.nan)
    column[index] = values
    return column


def _pooled(groups: Sequence[Group]) -> Group:
    """Return all examples, each graded by its own data set's main metric; then by its second, if all have one."""
    index = np.concatenate([group.index for group in groups])
    quality: dict[str, dict[str, Floats]] = {}
    binary = set()
    kinds: dict[str, frozenset[str]] = {}
    for metrics in zip(*(group.metrics for group in groups), strict=False):
        columns = {model: np.full(len(index), np.nan) for model in groups[0].quality[metrics[0]]}
        for group, metric in zip(groups, metrics, strict=True):
            for model, column in columns.items():
                column[group.index] = group.quality[metric][model][group.index]
        name = " / ".join(dict.fromkeys(metrics))
        quality[name] = columns
        kinds[name] = frozenset().union(*(group.kinds[metric] for group, metric in zip(groups, metrics, strict=True)))
        if all(metric in group.binary for group, metric in zip(groups, metrics, strict=True)):
            binary.add(name)
    return Group(POOLED, tuple(quality), index, quality, frozenset(binary), kinds)
