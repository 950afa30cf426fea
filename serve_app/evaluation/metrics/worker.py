"""A Python process in an environment of its own that answers one JSON object a line with another.

The first line is its setup, answered by {"ready": true}; each later one is a batch, answered by {"values": [...]}. If
something fails, the answer is {"error": sentence}, and it is the last one.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from serve_app.errors import CascadeError, SignalError

Object = dict[str, Any]
"""A JSON object."""


class Worker:
    """A running process; `name` is what it computes, for messages."""

    def __init__(self, name: str, process: "subprocess.Popen[str]", errors: IO[str]) -> None:
        self._name = name
        self._process = process
        self._errors = errors

    def call(self, request: Object) -> Object:
        """Send one object and return the answer. Raises `SignalError` if the process reports an error or has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            with suppress(BrokenPipeError):  # otherwise unwritten data would be flushed again at the end of the block
                self._process.stdin.close()
            self._process.wait()
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["it gave no reason"])[-1]
            raise SignalError(f"{self._name}'s process ended with code {self._process.returncode}: {last}")
        body: Object = json.loads(answer)
        if "error" in body:
            raise SignalError(body["error"])
        return body


@contextmanager
def running(name: str, python: str | None, module: str, setup: Object, *, hint: str = "") -> Iterator[Worker]:
    """Yield a worker that runs `module` with the interpreter `python` (None: this one) and has accepted its setup.

    Raises `SignalError`, ending with `hint`, if the interpreter cannot be run.
    """
    python = python or sys.executable
    command = [python, "-m", module]
    with tempfile.TemporaryFile("w+") as errors:
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        except OSError as error:
            raise SignalError(f"{name}'s environment {python!r} cannot be run ({error.strerror}){hint}.") from None
        with process:
            try:
                worker = Worker(name, process, errors)
                worker.call(setup)
                yield worker
            except BaseException:
                process.kill()
                raise


def serve(start: Callable[[Object], Callable[[Object], Sequence[float]]]) -> None:
    """Answer standard input, as the process: `start` takes the setup and returns the function of a batch's values."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(body: Object) -> None:
        answers.write(json.dumps(body) + "\n")
        answers.flush()

    try:
        values_of = start(json.loads(sys.stdin.readline()))
        say({"ready": True})
        for line in sys.stdin:
            say({"values": list(values_of(json.loads(line)))})
    except CascadeError as error:
        say({"error": str(error)})
