"""Records of their own for all that is not calibrated: fitting, the thresholds to test, and the figures at the end."""

from collections.abc import Set
from dataclasses import replace
from pathlib import Path

import numpy as np

from serve_app.errors import DataError, UsageError, choices, counted
from serve_app.evaluation.analysis.dataset import CALIBRATE, CHOOSE, Dataset
from serve_app.evaluation.analysis.options import models_of
from serve_app.evaluation.calibrate.config_file import check_same
from serve_app.evaluation.records.example import digest
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.header import DataFacts


def joined(records: Records, path: Path, cascade: str) -> tuple[Records, frozenset[str]]:
    """Return the records with those of a file behind them, and the ids of the file's examples.

    Raises UsageError if the records have no such cascade, DataError if an example is in both or was
    asked otherwise, ConfigError if the file's cascade of that name has other models.
    """
    if cascade not in records.config.cascades:
        available = choices(cascade, records.config.cascades)
        raise UsageError(f"The records have no cascade {cascade!r}. {available}")
    fit = Records.load(path)
    check_same(fit.config, records.config, cascade, path)
    ids = frozenset(example.id for example in fit.examples)
    if shared := sorted(ids & {example.id for example in records.examples}):
        count = counted(len(shared), "example")
        raise DataError(f"{path}: shares {count} with the records to calibrate on, such as {shared[0]!r}.")
    main_header, fit_header = records.header, fit.header
    for task in main_header.prompts.texts.keys() & fit_header.prompts.texts.keys():
        if main_header.prompts.texts[task] != fit_header.prompts.texts[task]:
            raise DataError(f"{path}: the prompt of {task} is not that of the records to calibrate on.")
    examples = [*records.examples, *fit.examples]
    data = DataFacts(digest(examples), len(examples), [*main_header.data.files, *fit_header.data.files])
    models = models_of(records.config.model_copy(update={"cascades": {cascade: records.config.cascades[cascade]}}))
    header = replace(main_header, data=data, models={name: main_header.models[name] for name in models})
    answers = {name: records.answers[name].followed_by(fit.answers[name], examples) for name in models}
    return Records(header, examples, answers), ids


def apart(dataset: Dataset, ids: Set[str]) -> Dataset:
    """Return the data set with its parts cut so that `ids` are to choose and to test on, all others to calibrate on."""
    fit = np.array([example.id in ids for example in dataset.examples])
    calibration_shares = CHOOSE + dataset.shares * (CALIBRATE - CHOOSE)
    halves = dataset.shares * CHOOSE * 2
    halves = np.where(halves < CHOOSE, halves, halves + CALIBRATE - CHOOSE)
    return replace(dataset, shares=np.where(fit, halves, calibration_shares))
