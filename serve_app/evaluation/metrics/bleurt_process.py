"""BLEURT for many (hypothesis, reference) pairs, by a process in the environment that the signal needs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from serve_app.evaluation.metrics.worker import Object, running, serve
from serve_app.signals import BleurtConfig, build_signal
from serve_app.signals.bleurt import Pair

BATCH_PAIRS = 256
"""Pairs sent at once; the signal sorts them by length and makes its own batches of them."""


def score_pairs(config: BleurtConfig, pairs: Sequence[Pair]) -> list[float]:
    """Return the value of each (hypothesis, reference) pair, none of whose texts may be empty.

    The checkpoint is fetched first, if need be. Runs in `config.environment`, else in this interpreter. Raises
    `SignalError` if it cannot run there, `WeightsError` if the checkpoint cannot be fetched.
    """
    from serve_app.weights import RichProgress, fetch

    if not pairs:
        return []
    with RichProgress() as progress:
        weights = fetch(config.weights, config.sha256, progress=progress, name="bleurt")
    settings = config.model_dump(mode="json", include=set(BleurtConfig.model_fields))
    setup = {"config": settings, "weights": str(weights)}
    hint = "; `make bleurt-env` makes .venv-bleurt/bin/python"
    with running("bleurt", config.environment, __name__, setup, hint=hint) as worker:
        batches = (pairs[start : start + BATCH_PAIRS] for start in range(0, len(pairs), BATCH_PAIRS))
        return [value for batch in batches for value in worker.call({"pairs": batch})["values"]]


def _start(setup: Object) -> Callable[[Object], Sequence[float]]:
    signal: Any = build_signal(BleurtConfig.model_validate(setup["config"]), Path(setup["weights"]))
    return lambda batch: signal.pairs([tuple(pair) for pair in batch["pairs"]])


if __name__ == "__main__":
    serve(_start)
