"""BLEURT for many (hypothesis, reference) pairs, by a process in the environment that the signal needs.

PYTHON -m serve_app.evaluation.metrics.bleurt_process       reads one JSON object a line and answers each with one:
{"config": {...}, "weights": path} -> {"ready": true}, then {"pairs": [[hypothesis, reference], ...]} -> {"values": []}
If something fails, the answer is {"error": sentence}, and it is the last one.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from serve_app.errors import CascadeError, SignalError
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
    with tempfile.TemporaryFile("w+") as errors:
        with _start(config, errors) as process:
            try:
                settings = config.model_dump(mode="json", include=set(BleurtConfig.model_fields))
                _call(process, errors, {"config": settings, "weights": str(weights)})
                values: list[float] = []
                for start in range(0, len(pairs), BATCH_PAIRS):
                    values += _call(process, errors, {"pairs": pairs[start : start + BATCH_PAIRS]})["values"]
            except BaseException:
                process.kill()
                raise
        return values


def _start(config: BleurtConfig, errors: IO[str]) -> "subprocess.Popen[str]":
    python = config.environment or sys.executable
    command = [python, "-m", __name__]
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
    except OSError as error:
        raise SignalError(
            f"bleurt's environment {python!r} cannot be run ({error.strerror}); `make bleurt-env` makes "
            ".venv-bleurt/bin/python."
        ) from None


def _call(process: "subprocess.Popen[str]", errors: IO[str], request: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    except BrokenPipeError:
        answer = ""
    if not answer:
        with suppress(BrokenPipeError):  # what is left to write would be flushed again when the process is left
            process.stdin.close()
        process.wait()
        errors.seek(0)
        last = (errors.read().strip().splitlines() or ["it gave no reason"])[-1]
        raise SignalError(f"bleurt's process ended with code {process.returncode}: {last}")
    body: dict[str, Any] = json.loads(answer)
    if "error" in body:
        raise SignalError(body["error"])
    return body


def main() -> None:
    """Serve pairs from standard input, as the process in BLEURT's environment."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(body: dict[str, Any]) -> None:
        answers.write(json.dumps(body) + "\n")
        answers.flush()

    try:
        settings = json.loads(sys.stdin.readline())
        signal: Any = build_signal(BleurtConfig.model_validate(settings["config"]), Path(settings["weights"]))
        say({"ready": True})
        for line in sys.stdin:
            say({"values": signal.pairs([tuple(pair) for pair in json.loads(line)["pairs"]])})
    except CascadeError as error:
        say({"error": str(error)})


if __name__ == "__main__":
    main()
