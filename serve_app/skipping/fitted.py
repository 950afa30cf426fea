"""The file of `cascade fit-skip`: embeddings of past prompts, and how far the answers to them agreed. No text."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from serve_app.config import AppConfig
from serve_app.errors import ConfigError
from serve_app.files.whole_file import whole_file
from serve_app.skipping.identity import differences, identity

FORMAT = 2
PROBE = "What is the capital of France, and how far is it from Rome?"
"""Embedded when the file is written and again where it is used: another encoder gives another vector."""
SAME = 0.999
"""Cosine from which two vectors of the probe are the same encoder's: devices and number formats differ by less."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Past requests of one cascade, n of them, with t tiers before the target.

    `embeddings`: (n, d), unit vectors in float16; `scores`: (n, t), the agreement in each tier, NaN if no threshold
    accepts the answers; `probe`: (d,), the vector of `PROBE`; `identity`: what they were embedded and decided by.
    """

    identity: Mapping[str, Any]
    embeddings: npt.NDArray[np.float16]
    scores: npt.NDArray[np.float64]
    probe: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.embeddings)

    def write(self, path: Path) -> None:
        """Write the file: NumPy's .npz. Raises ConfigError if that cannot be done."""
        facts = json.dumps({"format": FORMAT, "identity": self.identity})
        arrays: dict[str, Any] = {"embeddings": self.embeddings, "scores": self.scores, "probe": self.probe}
        try:
            with whole_file(path) as partial, partial.open("wb") as file:
                np.savez_compressed(file, facts=np.array(facts), **arrays)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}.") from error

    @classmethod
    def read(cls, path: Path) -> "Fitted":
        """Read a file. Raises ConfigError, which names it, if it cannot be read or is another one."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                facts = json.loads(str(arrays["facts"]))
                if facts["format"] != FORMAT:
                    raise ConfigError(f"{path} has format {facts['format']!r}, and this version reads {FORMAT}.")
                fitted = cls(facts["identity"], arrays["embeddings"], arrays["scores"], arrays["probe"])
            fitted._check_shapes(path)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be read: {error.strerror or error}. cascade fit-skip writes it."
            ) from error
        except (BadZipFile, zlib.error, KeyError, TypeError, ValueError, EOFError) as error:
            raise ConfigError(f"{path} is not a file of cascade fit-skip.") from error
        return fitted

    def _check_shapes(self, path: Path) -> None:
        """Raise ConfigError if the arrays do not fit each other, ValueError or KeyError if they are no such arrays."""
        (n, d), (rows, tiers) = self.embeddings.shape, self.scores.shape
        if (rows, self.probe.shape) != (n, (d,)) or tiers != len(self.identity["tiers"]) - 1:
            raise ConfigError(f"{path} is damaged: its arrays do not fit each other.")

    @classmethod
    def load(cls, config: AppConfig, cascade: str) -> "Fitted":
        """Read the file that a cascade names. Raises ConfigError if it was fitted to anything else."""
        skip = config.cascades[cascade].skip
        assert skip is not None
        where = f"cascades.{cascade}.skip.fitted"
        try:
            fitted = cls.read(Path(skip.fitted))
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
        if difference := next(differences(identity(config, cascade), fitted.identity), None):
            again = f"fit it again: cascade fit-skip RECORDS --config CONFIG --cascade {quote(cascade)}"
            raise ConfigError(f"{where}: {skip.fitted} was fitted to another cascade: {difference}; {again}")
        if len(fitted) < skip.k:
            raise ConfigError(f"{where}: {skip.fitted} has {len(fitted)} past requests, fewer than k ({skip.k}).")
        return fitted

    def is_of(self, probe: npt.NDArray[np.float32]) -> bool:
        """Return whether the encoder that gives `PROBE` this vector, of length 1, is the one of the file."""
        return probe.shape == self.probe.shape and float(probe @ self.probe) >= SAME
