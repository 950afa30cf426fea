"""What a scorer returns: similarities of texts, and vectors of them. All frozen."""

from dataclasses import dataclass
from typing import TypeAlias

Matrix: TypeAlias = tuple[tuple[float, ...], ...]
"""Similarities of n texts: `matrix[i][j]` is the signal for hypothesis i and reference j."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a scorer returns for the texts of one request; `flops` and `device_s` are its own cost.

    `truncated_pairs` is the number of ordered pairs that were cut to what the signal's model reads.
    """

    similarities: Matrix
    flops: float = 0.0
    device_s: float = 0.0
    truncated_pairs: int = 0


@dataclass(frozen=True, slots=True)
class Embedding:
    """A text's vector of length 1, as float32 numbers in little-endian bytes, and the tokens that were read of it.

    `flops` is what it cost.
    """

    vector: bytes
    tokens: int
    flops: float = 0.0
