"""Records as an evaluation asks for them: some of the examples, or under another serving config."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from serve_app.config import AppConfig
from serve_app.config.serve_file import load
from serve_app.errors import DataError, choices
from serve_app.evaluation.analysis.example_fields import matching
from serve_app.evaluation.records.example import sha256_of
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.header import ConfigFacts


def select(records: Records, where: Sequence[str] = (), config: Path | None = None) -> Records:
    """Return the records of the examples that meet all conditions (see `matching`), under a serving config's cascades.

    The config's models must be in the records; those that are in both have the config's sizes and prices. Raises
    DataError or ConfigError.
    """
    if config is not None:
        records = _under(records, load(config).application.args, config)
    return records.restricted(matching(records.examples, where)) if where else records


def _under(records: Records, config: AppConfig, path: Path) -> Records:
    for id_, cascade in config.cascades.items():
        for name in (name for tier in cascade.tiers for name in tier.models):
            if name not in records.models:
                available = choices(name, records.models)
                raise DataError(f"{path}: the records have no answers of {name!r}, a model of {id_!r}. {available}")
    written = config.model_dump(mode="json", exclude_unset=True)
    models = dict(records.header.models)
    for name, model in config.models.items():
        if name in models:
            models[name] = replace(
                models[name],
                parameters=model.parameters,
                active_parameters=model.active_parameters,
                cost=model.cost(),
            )
    header = replace(records.header, config=ConfigFacts(sha256_of(written), written), models=models)
    return Records(header, records.examples, records.answers)
