"""Records -> the data set that an evaluation works on."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata

import numpy as np

from serve_app.config import AppConfig
from serve_app.core.types import Answer, Generation
from serve_app.core.views.view import View
from serve_app.errors import DataError, choices
from serve_app.evaluation.analysis.costs import model_costs
from serve_app.evaluation.analysis.dataset import POOLED, Dataset, Group, Source, hashed_share
from serve_app.evaluation.analysis.example_fields import check_field, data_set, value
from serve_app.evaluation.analysis.options import Options, member_tiers, models_of, requested_config
from serve_app.evaluation.analysis.replay import Replay
from serve_app.evaluation.analysis.similarities import plain_signals, requested_signals
from serve_app.evaluation.metrics.catalogue import MetricCatalogue, check_labels, metrics_for
from serve_app.evaluation.metrics.quality import qualities
from serve_app.evaluation.records.example import Example, sha256_of
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.tasks import OFFICIAL_METRICS, TASKS
from serve_app.evaluation.statistics.curves import Floats
from serve_app.signals import AnySignalConfig


def load_dataset(records: Records, options: Options) -> Dataset:
    """Compare, price and grade the answers to every example that all models of the cascades have answered.

    Lexical signals are computed in several processes, BLEURT in one with its own environment; the weights of SBERT and
    BLEURT are fetched if need be. Raises DataError, SignalError and WeightsError.
    """
    config = requested_config(records, options)
    models, members = models_of(config), _members(config, options)
    rows = records.complete(models)
    if not rows:
        raise DataError(f"No example was answered by every one of {', '.join(models)}.")
    signals = requested_signals(config, options.signals)
    named = [tier.signal for tier in member_tiers(config) if tier.signal] if options.tiers is None else []
    replay = Replay(records, rows, members, config)
    replay.measure(plain_signals(config, [*signals, *named]), _views(config), options.processes)
    examples = tuple(records.examples[row] for row in rows)
    answers = {model: replay.answers(model) for model in models}
    return Dataset(
        config=config,
        options=options,
        source=_source(records, models, len(rows), options),
        examples=examples,
        models=models,
        members=members,
        signals=signals,
        replay=replay,
        groups=tuple(_groups(config, options, signals, records, rows, answers)),
        costs={model: model_costs(column, records.costs[model]) for model, column in answers.items()},
        shares=np.array([hashed_share(example.id, options.seed) for example in examples]),
    )


def _members(config: AppConfig, options: Options) -> tuple[str, ...]:
    members = tuple(dict.fromkeys(model for tier in member_tiers(config) for model in tier.models))
    if options.fixed is not None and options.fixed not in members:
        raise DataError(f"--fixed: no tier has a member {options.fixed!r}. {choices(options.fixed, members)}")
    return members


def _views(config: AppConfig) -> list[View | None]:
    """Return the views of all tiers, each once."""
    return list(dict.fromkeys(tier.compare.view() if tier.compare else None for tier in member_tiers(config)))


def _groups(
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
    indices = {name: [k for k, other in enumerate(names) if other == name] for name in dict.fromkeys(names)}
    check_labels(options.metrics or (), _labels(examples))
    catalogue = MetricCatalogue(config, records.score_names)
    plain = {signal.kind for signal in plain_signals(config, signals).values()}
    groups = []
    for name, index in indices.items():
        graded = [examples[k] for k in index]
        metrics = _metrics(catalogue, options, plain, graded)
        if not metrics and not options.references_required:
            yield Group(POOLED, (), np.arange(len(examples)), {})
            return
        columns = {model: [column[k] for k in index] for model, column in answers.items()}
        quality = {}
        for metric in metrics:
            if catalogue.given(metric):
                values = {model: _given(records, metric, model, [rows[k] for k in index]) for model in columns}
            else:
                values = qualities(catalogue.build(metric), graded, columns)
            quality[metric] = {model: _spread(column, index, len(examples)) for model, column in values.items()}
        groups.append(Group(name, metrics, np.array(index, dtype=np.intp), quality))
    yield from groups
    if len(groups) > 1:
        yield _pooled(groups)


def _labels(examples: Sequence[Example]) -> set[str]:
    """Return what a user may call examples: their tasks, their data sets, or those names without what follows."""
    data_sets = {data_set(example) for example in examples}
    short = (re.split(r"[ .]", name, maxsplit=1)[0] for name in data_sets)
    return {*(example.task for example in examples), *data_sets, *short}


def _metrics(
    catalogue: MetricCatalogue,
    options: Options,
    kinds: Collection[str],
    examples: Sequence[Example],
) -> tuple[str, ...]:
    """Return the requested metrics, else the config's for these tasks, else the tasks' own.

    A metric that is also a signal, one of `kinds`, does not grade alone: a second metric is added to it. Examples
    without references have the scores that their answers were given, or no metric if they have none.
    """
    tasks = list(dict.fromkeys(example.task for example in examples))
    labels = _labels(examples)
    requested = metrics_for(options.metrics or (), labels)
    if not all(example.references for example in examples):
        if catalogue.score_names and not requested:
            return catalogue.score_names
        if not requested and not options.references_required:
            return ()
    official = (metrics for name, metrics in OFFICIAL_METRICS.items() if name in labels)
    own = next(official, tuple(dict.fromkeys(metric for task in tasks for metric in TASKS[task].metrics)))
    names = requested or catalogue.own_for(labels) or own
    if len(names) == 1 and not catalogue.given(names[0]) and catalogue.build(names[0]).kind in kinds:
        return (*names, *[other for other in own if other != names[0]][:1])
    return names


def _given(records: Records, name: str, model: str, rows: Sequence[int]) -> list[float]:
    """Return a score of a model's answers to some examples; 0 for a failure.

    Raises DataError if an answer lacks it.
    """
    column, scores = records.answers[model], records.scores(name, model)
    for row in rows:
        if scores[row] is None and isinstance(column.without_logprobs(row), Generation):
            example = records.examples[row].id
            raise DataError(f"--metric {name}: the answer of {model!r} to the example {example!r} has no such score.")
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
    for metrics in zip(*(group.metrics for group in groups), strict=False):
        columns = {model: np.full(len(index), np.nan) for model in groups[0].quality[metrics[0]]}
        for group, metric in zip(groups, metrics, strict=True):
            for model, column in columns.items():
                column[group.index] = group.quality[metric][model][group.index]
        quality[" / ".join(dict.fromkeys(metrics))] = columns
    return Group(POOLED, tuple(quality), index, quality)


def _source(records: Records, models: Sequence[str], examples: int, options: Options) -> Source:
    header = records.header
    facts = {model: header.models[model] for model in models}
    return Source(
        data_sha256=header.data.digest,
        examples=examples,
        left_out=len(records.examples) - examples,
        files=header.data.files,
        config_sha256=header.config.digest,
        prompts_sha256=header.prompts.digest,
        models=facts,
        models_sha256=sha256_of({model: asdict(value) for model, value in facts.items()}),
        asked=header.asked,
        collected=header.created,
        versions=dict(header.versions),
        version=metadata.version("semantic-cascade"),
        seed=options.seed,
        fit=options.fit,
        resamples=options.resamples,
    )
