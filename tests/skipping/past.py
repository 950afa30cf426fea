"""Past requests whose embeddings are made up."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from serve_app.config import AppConfig
from serve_app.core.types.scores import Embedding
from serve_app.skipping.fitted import PROBE, Fitted
from serve_app.skipping.identity import identity

EASY, HARD, ODD = "An easy question", "A hard question", "Something else"
AXES = {EASY: 0, HARD: 1, ODD: 2, PROBE: 3}
SKIP = {"encoder": "sbert", "k": 5, "defer_above": 0.8, "accept_above": 0.8}


def vector(text: str) -> np.ndarray[Any, Any]:
    """Return one of four orthogonal vectors, by the beginning of a text."""
    axis = next((axis for beginning, axis in AXES.items() if text.startswith(beginning)), 2)
    return np.eye(4, dtype=np.float32)[axis]


def embedding(text: str) -> Embedding:
    return Embedding(vector(text).astype("<f4").tobytes(), 4, 8.0)


def config(path: Any, **cascade: Any) -> AppConfig:
    models = {name: {"engine": "replay", "default": "x", "parameters": 1.0} for name in ("a", "b", "t")}
    tiers = [{"models": ["a", "b"], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]
    cascades = {"default": {"tiers": tiers, "skip": SKIP | {"fitted": str(path)}} | cascade}
    return AppConfig.model_validate({"models": models, "cascades": cascades})


def fitted(of: AppConfig, texts: Sequence[str], scores: Sequence[float]) -> Fitted:
    """Return past requests with these texts, and the agreement of the answers to each."""
    embeddings = np.stack([vector(text) for text in texts]).astype(np.float16)
    return Fitted(identity(of, "default"), embeddings, np.array(scores)[:, np.newaxis], vector(PROBE))


def written(path: Any) -> AppConfig:
    """Return a config with a file of ten past requests: five easy ones that agreed by .7, five hard ones by .2."""
    of = config(path)
    fitted(of, [EASY] * 5 + [HARD] * 5, [0.7] * 5 + [0.2] * 5).write(path)
    return of
