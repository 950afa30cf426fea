"""Whether every request ended as it should, and whether the logged decisions are those that were answered."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.chaos.load import SERVE_LIMIT_S, Sent
from loadtests.chaos.schedule import AFTER_S

MARK = "decision "
LOSES_CONNECTIONS = {"proxy killed", "node lost", "controller killed"}
"""Faults that end connections, or the proxies behind them: no server is left to say so."""
FAILS_NOTHING = {
    *("controller killed", "disk full", "file corrupt", "head restarted", "scorer killed", "threshold deployed"),
    *("member: errors", "member: nothing", "unfinished bodies"),
}
"""Faults that requests may notice in their time or cost alone: others can answer, or it is none of theirs."""
LOSES_LOGS = {"disk full", "node lost", "router killed"}
"""Faults during which a line of a log may not be written."""


@dataclass(frozen=True, slots=True)
class Window:
    """One fault that happened: from and to, in seconds since the load began, and what exactly was broken."""

    name: str
    from_s: float
    to_s: float
    detail: str = ""

    def touches(self, sent: Sent) -> bool:
        """Return whether the request was under way during the fault or shortly after."""
        return sent.at_s <= self.to_s + AFTER_S and sent.at_s + sent.seconds >= self.from_s


def decisions(logs: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the decision records in the routers' logs (JSON lines), by the id of their request."""
    logged: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(logs.glob("replica_*Router*")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # cut off by a full disk or a kill
                continue
            message = entry.get("message", "")
            if message.startswith(MARK):
                logged.setdefault(entry.get("request_id", ""), []).append(json.loads(message.removeprefix(MARK)))
    return logged


def complaints(
    sent: Iterable[Sent], logged: Mapping[str, list[dict[str, Any]]], windows: Iterable[Window]
) -> list[str]:
    """Return a sentence for each thing that should not have been."""
    problems, windows = [], list(windows)
    sent_ids: set[str] = set()
    for item in sent:
        sent_ids |= set(item.ids)
        names = {window.name for window in windows if window.touches(item)}
        met = ", ".join(sorted(names)) or "no fault"
        where = f"request {item.number} ({item.kind}, at {item.at_s:.0f} s, during {met})"
        if item.end in ("late", "malformed"):
            problems.append(f"{where} was {item.end} after {item.seconds:.1f} s: {item.detail}")
        elif item.end in ("cut", "unreachable") and not names & LOSES_CONNECTIONS:
            problems.append(f"{where} was {item.end}: {item.detail}")
        elif item.end in ("error", "refused") and not names - FAILS_NOTHING:
            problems.append(f"{where} failed: {item.detail}")
        problems += _disagreement(item, where, logged, excused=bool(names & LOSES_LOGS))
    problems += [f"a decision was logged for {name!r}, which nobody sent" for name in logged.keys() - sent_ids]
    return problems


def _disagreement(item: Sent, where: str, logged: Mapping[str, list[dict[str, Any]]], *, excused: bool) -> list[str]:
    """Return what is wrong between a request's own record and the ones that were logged."""
    records = [record for name in item.ids for record in logged.get(name, [])]
    if item.end == "answered":
        if not records:
            return [] if excused else [f"{where} was answered, and no decision was logged"]
        assert item.record is not None
        if not any(_decided(record) == _decided(item.record) for record in records):
            return [
                f"{where} was answered by {_decided(item.record)}, logged is {[_decided(entry) for entry in records]}"
            ]
        if len(records) > 1 and not excused:
            return [f"{where} has {len(records)} decisions"]
    answers = [record["answered_by"] for record in records if record["answered_by"] is not None]
    # Serve's proxy may give up in the moment in which the router is done.
    if item.end in ("error", "refused") and answers and not excused and item.seconds < SERVE_LIMIT_S - 1:
        return [f"{where} got {item.detail!r}, logged is an answer by {answers[-1]}"]
    return []


def _decided(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return record["answered_by"], record["deferred"], record["reason"]
