"""cascade-inference's semantic strategy: the highest threshold, of a grid, at which it accepts each example's answers.

Runs in the peer's environment. In: {"vectors": {text: [...]}, "answers": [[text, ...], ...]}; out: [threshold, ...].
Its embedder is replaced by vectors of ours: both compare by the same encoder.
"""

import json
import sys
from types import SimpleNamespace

import numpy as np
from cascade.strategies.semantic import SemanticAgreement

GRID = [step / 1000 for step in range(-1000, 1001)]


class Vectors:
    """What the strategy calls its model."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        self._vectors = {text: np.array(vector) for text, vector in vectors.items()}

    def embed(self, texts: list[str]) -> list[np.ndarray]:
        return [self._vectors[text] for text in texts]


def main() -> None:
    request = json.load(sys.stdin)
    vectors = Vectors(request["vectors"])
    SemanticAgreement._get_model = lambda self: vectors
    strategy = SemanticAgreement()
    json.dump([_highest(strategy, answers) for answers in request["answers"]], sys.stdout)


def _highest(strategy: SemanticAgreement, answers: list[str]) -> float:
    """Return the last threshold of the grid at which the strategy agrees, by bisection: it is monotone."""
    message = [SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=text))]) for text in answers]
    low, high = 0, len(GRID)
    while high - low > 1:
        middle = (low + high) // 2
        strategy.threshold = GRID[middle]
        low, high = (middle, high) if strategy.check_agreement(message) else (low, middle)
    return GRID[low]


if __name__ == "__main__":
    main()
