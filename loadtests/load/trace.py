"""Arrival times of requests, from a CSV file: open-loop load, which does not wait for the server.

Two headers are read. Ours has the times in seconds from the start, in order, and perhaps an answer's length:

    arrival_s,max_tokens
    0.000,64
    0.153,128

The other is that of Azure's public traces of LLM inference, `TIMESTAMP,ContextTokens,GeneratedTokens`; the first
timestamp is the start, and `GeneratedTokens` is taken for `max_tokens` (`ContextTokens` is not used: prompts are ours).
"""

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from itertools import pairwise
from math import isfinite
from pathlib import Path

from serve_app.errors import DataError
from serve_app.files.text import read_text

from . import LoadError

HEADERS = "arrival_s[,max_tokens] or TIMESTAMP,ContextTokens,GeneratedTokens"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that is sent `time_s` seconds after the start, with its own `max_tokens` if the trace has it."""

    time_s: float
    max_tokens: int | None = None


def read_trace(path: Path, speed: float = 1.0) -> list[Arrival]:
    """Read the arrivals of a file, `speed` times as fast. Raises `LoadError` with the line that is wrong."""
    try:
        text = read_text(path)
    except DataError as error:
        raise LoadError(f"--trace: {error}") from error
    rows = csv.DictReader(StringIO(text, newline=""))
    names = rows.fieldnames or []
    if "arrival_s" in names and set(names) <= {"arrival_s", "max_tokens"}:
        arrivals = list(_ours(rows, path))
    elif {"TIMESTAMP", "GeneratedTokens"} <= set(names):
        arrivals = list(_azure(rows, path))
    else:
        raise LoadError(f"{path}: the header must be {HEADERS}, not {','.join(names) or 'nothing'}.")
    if not arrivals:
        raise LoadError(f"{path}: there are no arrivals in it.")
    for number, (before, after) in enumerate(pairwise(arrivals), 3):
        if after.time_s < before.time_s:
            raise LoadError(f"{path}, line {number}: arrives before the line above it; times must be in order.")
    return [Arrival(arrival.time_s / speed, arrival.max_tokens) for arrival in arrivals]


def poisson(rate: float, duration_s: float, seed: int) -> list[Arrival]:
    """Draw independent arrivals, `rate` a second on average: exponential gaps, drawn from `seed`."""
    random_ = random.Random(seed)
    arrivals = []
    time_s = random_.expovariate(rate)
    while time_s < duration_s:
        arrivals.append(Arrival(round(time_s, 6)))
        time_s += random_.expovariate(rate)
    return arrivals


def write_trace(path: Path, arrivals: list[Arrival]) -> None:
    """Write arrivals in our own form, times only."""
    path.write_text("arrival_s\n" + "".join(f"{arrival.time_s:.6f}\n" for arrival in arrivals), encoding="utf-8")


def _ours(rows: "csv.DictReader[str]", path: Path) -> Iterator[Arrival]:
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        try:
            time_s = float(row["arrival_s"])
        except (TypeError, ValueError):
            time_s = -1.0
        if not (isfinite(time_s) and time_s >= 0):
            raise LoadError(f"{where}: arrival_s must be seconds from the start, not {row['arrival_s']!r}.")
        yield Arrival(time_s, _tokens(row.get("max_tokens"), where, "max_tokens"))


def _azure(rows: "csv.DictReader[str]", path: Path) -> Iterator[Arrival]:
    start: datetime | None = None
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        try:
            time = datetime.fromisoformat(row["TIMESTAMP"])
        except (TypeError, ValueError):
            raise LoadError(f"{where}: TIMESTAMP must be an ISO date and time, not {row['TIMESTAMP']!r}.") from None
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        start = start or time
        yield Arrival((time - start).total_seconds(), _tokens(row["GeneratedTokens"], where, "GeneratedTokens"))


def _tokens(text: str | None, where: str, field: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise LoadError(f"{where}: {field} must be a whole number from 1, not {text!r}.")
    return int(text)
