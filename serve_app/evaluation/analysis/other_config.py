"""Records under another serving config than that of their models."""

from dataclasses import replace
from pathlib import Path

from serve_app.config.serve_file import load
from serve_app.errors import DataError, choices
from serve_app.evaluation.records.example import sha256_of
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.header import ConfigFacts


def with_config(records: Records, path: Path) -> Records:
    """Return the records under another serving config: its cascades and signals, and its models' sizes and prices.

    Raises DataError if the records lack a model of one of its cascades, ConfigError if it cannot be read.
    """
    config = load(path).application.args
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
