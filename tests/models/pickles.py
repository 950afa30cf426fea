"""Weights that run code when they are unpickled."""

import pickle
from pathlib import Path


class _Touch:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._marker,)


def hostile(file: Path, marker: Path) -> None:
    """Write a checkpoint of torch's older format; code that unpickles it without care creates `marker`."""
    file.write_bytes(pickle.dumps(_Touch(marker), protocol=2))
