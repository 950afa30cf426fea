"""Records under another serving config than that of their models."""

from dataclasses import replace
from pathlib import Path

from serve_app.config import CascadeConfig
from serve_app.config.cascades.samples import all_samples
from serve_app.config.serve_file import load
from serve_app.core.sampling import base_name
from serve_app.errors import DataError, UsageError, choices
from serve_app.evaluation.records.example import sha256_of
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.header import ConfigFacts


def load_records(path: Path, config: Path | None) -> Records:
    """Return the records of a file, under another serving config if there is one. Raises what `with_config` raises."""
    records = Records.load(path)
    return records if config is None else with_config(records, config)


def with_config(records: Records, path: Path) -> Records:
    """Return the records under another serving config: its cascades, signals and thresholds in force, sizes and prices.

    Raises DataError if the records lack a model of one of its cascades, or its samples were drawn otherwise,
    ConfigError if it cannot be read.
    """
    config = load(path).args_in_force()
    for id_, cascade in config.cascades.items():
        _check_models(records, path, id_, cascade)
    values = config.model_dump(mode="json", exclude_unset=True)
    models = dict(records.header.models)
    for name, facts in models.items():
        if (model := config.models.get(base_name(name))) is not None:
            models[name] = replace(
                facts,
                parameters=model.parameters,
                active_parameters=model.active_parameters,
                cost=model.cost(),
            )
    header = replace(records.header, config=ConfigFacts(sha256_of(values), values), models=models)
    return Records(header, records.examples, records.answers)


def with_cascade(records: Records, path: Path, id_: str) -> Records:
    """Return the records with one cascade, that of another serving config, and with the signals that it uses there.

    The models stay as they were when the records were collected. Raises UsageError if the file has no such cascade,
    DataError if the records lack one of its models, ConfigError if the file cannot be read.
    """
    config = load(path).application.args
    if id_ not in config.cascades:
        raise UsageError(f"Neither the records nor {path} have a cascade {id_!r}. {choices(id_, config.cascades)}")
    cascade = config.cascades[id_]
    _check_models(records, path, id_, cascade)
    signals = config.all_signals()
    names = {name for tier in cascade.tiers if tier.signal for name in signals.uses(tier.signal)}
    args = dict(records.header.config.args)
    args["cascades"] = {id_: cascade.model_dump(mode="json", exclude_unset=True)}
    names |= {tier.on_scorer_failure.signal for tier in cascade.tiers if tier.on_scorer_failure is not None}
    if cascade.skip is not None:
        names.add(cascade.skip.encoder)
    own_signals = {
        name: config.signals[name].model_dump(mode="json", exclude_unset=True) for name in names & {*config.signals}
    }
    args["signals"] = {**args.get("signals", {}), **own_signals}
    header = replace(records.header, config=ConfigFacts(sha256_of(args), args))
    return Records(header, records.examples, records.answers)


def _check_models(records: Records, path: Path, id_: str, cascade: CascadeConfig) -> None:
    for name in (name for tier in cascade.tiers for name in tier.models):
        if name not in records.models:
            available = choices(name, records.models)
            raise DataError(f"{path}: the records have no answers of {name!r}, a model of {id_!r}. {available}")
    recorded = records.header.samples()
    for sample in all_samples({id_: cascade}):
        for option in ("temperature", "top_p"):  # with another seed they would be as likely
            was = getattr(recorded.get(sample.name), option, None)
            if was is not None and was != (now := getattr(sample, option)):
                configured = "not set" if now is None else now
                raise DataError(
                    f"{path}: {option} of {sample.name!r} is {configured}, but its answers were drawn at {was}."
                )
