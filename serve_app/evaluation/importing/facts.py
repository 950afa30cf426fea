"""Sizes and prices of imported models, and the serving config that the records are under."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from serve_app.config import AppConfig
from serve_app.config.cascades.samples import members_as_written
from serve_app.config.explain import explain
from serve_app.config.models import ModelFacts
from serve_app.config.serve_file import load
from serve_app.config.yaml_file import read_yaml
from serve_app.core.sampling import base_name, parsed_name
from serve_app.errors import ConfigError, DataError, choices

THRESHOLD = 0.5
"""Threshold of the cascade that an import defines; `evaluate` looks at every threshold, and `calibrate` finds one."""


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid")
    models: dict[str, ModelFacts]


@dataclass(frozen=True, slots=True)
class Setup:
    """A config with the imported models in it; `written` are its values without defaults."""

    config: AppConfig
    written: dict[str, Any]


def read_facts(path: Path) -> dict[str, ModelFacts]:
    """Return the models of a YAML file, `name: {parameters: 8.0e9, input_usd: 0.2}`, by name.

    Raises ConfigError if the file cannot be read, or names something else than sizes and prices.
    """
    values = read_yaml(path, "file of models")
    try:
        return _Facts.model_validate({"models": values}).models
    except ValidationError as error:
        sentences = explain(error, _Facts)
        raise ConfigError("\n".join(f"{path}: {sentence.removeprefix('models.')}" for sentence in sentences)) from None


def configured(path: Path, models: Sequence[str]) -> Setup:
    """Return a serving config that has all imported models. Raises ConfigError, or DataError if it lacks one."""
    config = load(path).application.args
    for model in models:
        if model not in config.models_and_samples():
            raise DataError(f"{path} has no model {model!r}. {choices(model, config.models_and_samples())}")
    return Setup(config, config.model_dump(mode="json", exclude_unset=True))


def replayed(models: Sequence[str], facts: Mapping[str, ModelFacts], target: str | None) -> Setup:
    """Return a config of replay models with one cascade, `default`: all of them before the target.

    The target is the one that costs most, if none is named; the others come in the order of their costs. Raises
    DataError if the target is not among the models, or if a sample of one lacks those before it.
    """
    asked_once = [name for name in models if parsed_name(name) is None]
    if target is not None and target not in asked_once:
        raise DataError(f"--target: no answers of {target!r} were imported. {choices(target, asked_once)}")
    if not asked_once:
        raise DataError("All answers are of samples of a model; the target, which is asked once, is missing.")
    ranks = {name: _rank(facts.get(base_name(name), ModelFacts())) for name in models}
    *_, dearest = sorted(asked_once, key=ranks.__getitem__)
    last = target or dearest
    members = sorted((name for name in models if name != last), key=ranks.__getitem__)
    tiers: list[dict[str, Any]] = [{"models": [last]}]
    if members:
        signal = "rougeL" if len(members) > 1 else "chow_avg"
        _check_samples(members)
        tiers.insert(0, {"models": members_as_written(members, {}), "signal": signal, "threshold": THRESHOLD})
    described = {name: fact.model_dump(mode="json", exclude_unset=True) for name, fact in facts.items()}
    ordered = dict.fromkeys(map(base_name, [*members, last]))
    values = {
        "models": {name: {"engine": "replay", **described.get(name, {})} for name in ordered},
        "cascades": {"default": {"tiers": tiers}},
    }
    try:
        return Setup(AppConfig.model_validate(values), values)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, AppConfig))) from None


def _check_samples(members: Sequence[str]) -> None:
    """Raise DataError if there is a sample of a model without those before it, which a config would name, too."""
    for base, number in filter(None, map(parsed_name, members)):
        if missing := next((k for k in range(1, number) if f"{base}#{k}" not in members), None):
            raise DataError(f"There are answers of '{base}#{number}', but none of '{base}#{missing}'.")


def _rank(facts: ModelFacts) -> tuple[bool, float, float]:
    """Order models by their size; those of unknown size come last, by their price."""
    size = facts.active_parameters or facts.parameters
    return size is None, size or 0.0, facts.output_usd or 0.0
