"""The files of a config that commands and replicas open alike, each by its path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serve_app.config.app import AppConfig
from serve_app.config.models import OpenAiApiModel, ReplayModel
from serve_app.engines import WeightsSettings
from serve_app.signals import needs_weights
from serve_app.weights import LocalSource, WeightsSetting, parse_origins

if TYPE_CHECKING:
    from serve_app.config.serve_file import ApplicationEntry


@dataclass(frozen=True)
class ReplicaFile:
    """A path that replicas of `deployment` open; `field` is where it is written in `args`."""

    field: str
    path: Path
    deployment: str


def data_files(args: AppConfig) -> Iterator[ReplicaFile]:
    """Yield the files of recorded answers and of past requests."""
    for name, model in args.models.items():
        if isinstance(model, ReplayModel) and model.records is not None:
            yield ReplicaFile(f"models.{name}.records", model.records, name)
    for id_, cascade in args.cascades.items():
        if cascade.skip is not None:
            yield ReplicaFile(f"cascades.{id_}.skip.fitted", Path(cascade.skip.fitted), "Router")


def path_faults(application: ApplicationEntry) -> Iterator[str]:
    """Yield a sentence for each relative path that replicas would look for in another folder than commands do.

    Replicas whose runtime environment has a `working_dir` run in it: for most URIs a folder that Ray unpacks on their
    node, which no command knows. The sources of all weights must be well-formed.
    """
    for file in _files(application.args):
        where = application.working_dir_field(file.deployment)
        if where is not None and not file.path.is_absolute():
            yield (
                f"applications[0].args.{file.field}: {str(file.path)!r} is a relative path, which commands look for in "
                f"the current directory, and replicas in applications[0].{where}; write an absolute path, or leave the "
                "working_dir out."
            )


def _files(args: AppConfig) -> Iterator[ReplicaFile]:
    yield from _weights(args)
    yield from data_files(args)
    for name, model in args.models.items():
        if isinstance(model, OpenAiApiModel) and model.api_key_file is not None:
            yield ReplicaFile(f"models.{name}.api_key_file", model.api_key_file, name)
    for name, signal in args.isolated().items():
        if signal.environment is not None:
            yield ReplicaFile(f"signals.{name}.environment", Path(signal.environment), name)
    if (keys_file := args.router.access.keys_file) is not None:
        yield ReplicaFile("router.access.keys_file", keys_file, "Router")


def _weights(args: AppConfig) -> Iterator[ReplicaFile]:
    for name, model in args.models.items():
        if isinstance(model, WeightsSettings):
            yield from _local(f"models.{name}.weights", model.weights, args.served_by(name))
    for name, signal in args.similarities().items():
        if needs_weights(signal):
            yield from _local(f"signals.{name}.weights", signal.weights, "Scorer")
    for name, bleurt in args.isolated().items():
        yield from _local(f"signals.{name}.weights", bleurt.weights, name)


def _local(field: str, weights: WeightsSetting, deployment: str) -> Iterator[ReplicaFile]:
    """Yield the local sources, but for those that begin at the home directory (`~`), in whatever folder one runs."""
    for number, origin in enumerate(parse_origins(weights, None)):
        if isinstance(origin.source, LocalSource) and not origin.uri.startswith("~"):
            index = "" if isinstance(weights, str) else f"[{number}]"
            yield ReplicaFile(field + index, origin.source.path, deployment)
