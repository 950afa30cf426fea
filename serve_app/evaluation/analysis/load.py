"""Records -> the data set that an evaluation works on."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata

import numpy as np

from serve_app.config import AppConfig
from serve_app.core.views.view import View
from serve_app.errors import DataError, UsageError, choices
from serve_app.evaluation.analysis.costs import model_costs
from serve_app.evaluation.analysis.dataset import Dataset, Source, hashed_share
from serve_app.evaluation.analysis.example_fields import matching
from serve_app.evaluation.analysis.grading import groups
from serve_app.evaluation.analysis.options import Options, member_tiers, models_of, requested_config
from serve_app.evaluation.analysis.replay import Replay
from serve_app.evaluation.analysis.similarities import plain_signals, requested_signals
from serve_app.evaluation.records.example import sha256_of
from serve_app.evaluation.records.file import Records


def load_dataset(records: Records, options: Options) -> Dataset:
    """Compare, price and grade the answers to every example that all models of the cascades have answered.

    Lexical signals are computed in several processes, BLEURT in one with its own environment; the weights of SBERT and
    BLEURT are fetched if need be. Raises UsageError, DataError, SignalError and WeightsError.
    """
    if options.where:
        records = records.restricted(matching(records.examples, options.where))
    config = requested_config(records, options)
    models, members = models_of(config), _members(config, options)
    rows = records.complete(models)
    if not rows:
        raise DataError(f"No example was answered by every one of {', '.join(models)}.")
    signals = requested_signals(config, options.signals)
    tiers = member_tiers(config) if options.tiers is None else []
    tier_signals = [tier.signal for tier in tiers if tier.signal]
    tier_signals += [tier.on_scorer_failure.signal for tier in tiers if tier.on_scorer_failure is not None]
    replay = Replay(records, rows, members, config)
    replay.measure(plain_signals(config, [*signals, *tier_signals]), _views(config), options.processes)
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
        groups=tuple(groups(config, options, signals, records, rows, answers)),
        costs={model: model_costs(column, records.costs[model]) for model, column in answers.items()},
        shares=np.array([hashed_share(example.id, options.seed) for example in examples]),
    )


def _members(config: AppConfig, options: Options) -> tuple[str, ...]:
    members = tuple(dict.fromkeys(model for tier in member_tiers(config) for model in tier.models))
    if options.fixed is not None and options.fixed not in members:
        raise UsageError(f"--fixed: no tier has a member {options.fixed!r}. {choices(options.fixed, members)}")
    return members


def _views(config: AppConfig) -> list[View | None]:
    """Return the views of all tiers, each once."""
    return list(dict.fromkeys(tier.compare.view() if tier.compare else None for tier in member_tiers(config)))


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
        where=list(options.where),
    )
