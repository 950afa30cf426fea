"""The key of an answer: everything that decides what a request gets."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256

from serve_app.core.running.run import Run

NOT_ASKED = {
    "models",
    "scorer",
    "lexical",
    "speculation",
    "precheck",
    "shed",
    "stream",
    "speeds",
    "caller",
    "calls",
    "results",
    "clock",
    "started",
    "first_text_s",
    "costs",
    "watch",
}
"""The fields of a `Run` that are about how it is made, or about its result. All others are in the key."""


def request_key(cascade: str, run: Run, calibration: str | None, tenant: str | None = None) -> bytes:
    """Return the SHA-256 of everything that decides what a request gets, equal for equal requests alone.

    The parts are the fields of the dataclasses themselves, so that a new field is in the key from the first. As in
    their equality, fields with `compare=False` are left out. `calibration` is the id of the one in force; answers are
    shared within a `tenant` only. Raises `TypeError` for a field of a type that has no canonical form here.
    """
    request_fields = {field.name: getattr(run, field.name) for field in fields(run) if field.name not in NOT_ASKED}
    parts = [cascade, calibration, tenant, _canonical(request_fields)]
    return sha256(json.dumps(parts, separators=(",", ":")).encode()).digest()


def _canonical(value: object) -> object:
    """Return JSON values that differ if the values differ, in their types as well.

    The order of a mapping counts: models read the schema of a tool as it is written.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return ["sequence", *map(_canonical, value)]
    if isinstance(value, Mapping):
        return ["mapping", *([_canonical(key), _canonical(item)] for key, item in value.items())]
    if is_dataclass(value):
        compared = ((field.name, getattr(value, field.name)) for field in fields(value) if field.compare)
        return [type(value).__name__, *([name, _canonical(item)] for name, item in compared)]
    raise TypeError(f"A {type(value).__name__} has no canonical form for the key of a cached answer.")
