"""The log of a run, JSON Lines: one line about the run, one for each request, one each time the server is looked at.

    {"kind": "run", "time": 1760000000.0, "url": "...", "shape": "ramp", ...}
    {"kind": "sample", "time": ..., "users": 4, "ready": true, "replicas": {"qwen-0.5b": 1, ...}}
    {"kind": "request", "time": ..., "model": "default", "latency_s": 1.2, ...}     the fields of `Result`
    {"kind": "end", "time": ...}

Times are seconds since 1970. Everything that is reported of a run (summary, gates, report) is computed from its log.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from serve_app.errors import DataError
from serve_app.files.json_lines import Object, read_appended
from serve_app.files.text import Line

from . import LoadError


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a request. None where nothing was measured: a failed request has only what came before."""

    time: float  # when it was sent
    model: str
    stream: bool
    latency_s: float  # until the last byte, or until it failed
    failure: str | None = None  # its kind; never the server's words
    first_token_s: float | None = None  # streams: until the first text of the answer
    token_s: float | None = None  # streams: mean time between two tokens of the answer
    deferred: bool | None = None  # None where there was nothing to defer: single models
    answered_by: str | None = None
    flops: float | None = None
    usd: float | None = None
    target_flops: float | None = None  # what the target alone would have cost
    target_usd: float | None = None
    late_s: float | None = None  # replay: how long after its time it was sent


@dataclass(frozen=True)
class Run:
    """A log that was read."""

    about: dict[str, Any]
    results: list[Result]
    samples: list[dict[str, Any]]
    end: float

    @property
    def start(self) -> float:
        """Return the start in seconds since 1970."""
        return float(self.about["time"])

    @property
    def duration_s(self) -> float:
        """Return the seconds from the start to the end of the last request."""
        return max((result.time + result.latency_s for result in self.results), default=self.end) - self.start


class Log:
    """Writes a run's log, a line at a time; a run that is killed leaves what it did."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def open(self, time: float, about: dict[str, Any]) -> None:
        """Begin the log, which replaces the content of the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("w", encoding="utf-8")
        self._write({"kind": "run", "time": time, **about})

    def requests(self, results: Iterable[Result]) -> None:
        """Append requests that have ended."""
        for result in results:
            self._write({"kind": "request"} | {k: v for k, v in asdict(result).items() if v is not None})

    def sample(self, time: float, **state: Any) -> None:
        """Append what the server looked like."""
        self._write({"kind": "sample", "time": time, **state})

    def close(self, time: float) -> None:
        """End the run."""
        self._write({"kind": "end", "time": time})
        if self._file:
            self._file.close()
            self._file = None

    def _write(self, line: dict[str, Any]) -> None:
        if self._file:
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
            self._file.flush()


def read_log(path: Path) -> Run:
    """Read a run's log, without a last line that was cut off. Raises `LoadError` if the file is not a log."""
    try:
        with read_appended(path) as lines:
            items = [_checked(line, body) for line, body in lines]
    except DataError as error:
        raise LoadError(str(error)) from error
    by_kind: dict[str, list[dict[str, Any]]] = {"run": [], "request": [], "sample": [], "end": []}
    for item in items:
        by_kind[item.pop("kind")].append(item)
    if len(by_kind["run"]) != 1:
        raise LoadError(f"{path}: not the log of a load test: it has no line about the run.")
    results = [Result(**item) for item in by_kind["request"]]
    times = [item["time"] for kind in by_kind.values() for item in kind]
    return Run(by_kind["run"][0], sorted(results, key=lambda result: result.time), by_kind["sample"], max(times))


_FIELDS = {field.name for field in fields(Result)}


def _checked(line: Line, item: Object) -> Object:
    kind = item.get("kind")
    valid = kind in ("run", "sample", "end") or (kind == "request" and set(item) - {"kind"} <= _FIELDS)
    if not valid or "time" not in item:
        raise LoadError(f"{line.where}: not a line of a load test's log.")
    return item
