"""Learned metrics of packages that need environments of their own.

BERTScore (Zhang et al., 2020) and COMET (Rei et al., 2022) run in the process of a `module:function` metric, in whose
`environment` the package is installed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serve_app.errors import SignalError


def bertscore(
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    inputs: Sequence[Mapping[str, Any]],
    *,
    model: str = "roberta-large",
    layers: int | None = None,
    batch_size: int = 64,
) -> list[float]:
    """Return BERTScore's F1 of each answer, the best over its references, cut to 0..1, without rescaling.

    `model` is a name on the hub or a folder; of one that bert-score does not know, `layers` says how many to use.
    """
    from bert_score import BERTScorer  # type: ignore[import-not-found]

    scorer = BERTScorer(model_type=model, num_layers=layers, batch_size=batch_size)
    _, _, f1 = scorer.score(list(answers), [list(texts) for texts in references])
    return [min(1.0, max(0.0, value)) for value in f1.tolist()]


def comet(
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    inputs: Sequence[Mapping[str, Any]],
    *,
    model: str = "Unbabel/wmt22-comet-da",
    batch_size: int = 16,
    gpus: int = 0,
) -> list[float]:
    """Return COMET's score of each translation of the `text` of its inputs, the best over its references, cut to 0..1.

    `model` is a name on the hub or a checkpoint's path. Raises `SignalError` if an example has no `text`.
    """
    from comet import download_model, load_from_checkpoint  # type: ignore[import-not-found]

    if not all("text" in fields for fields in inputs):
        raise SignalError("COMET compares a translation with its source: it grades the task translation only.")
    checkpoint = load_from_checkpoint(model if Path(model).exists() else download_model(model))
    rows = [
        {"src": fields["text"], "mt": answer, "ref": text}
        for answer, texts, fields in zip(answers, references, inputs, strict=True)
        for text in texts
    ]
    scores = iter(checkpoint.predict(rows, batch_size=batch_size, gpus=gpus, progress_bar=False).scores)
    return [min(1.0, max(0.0, max(next(scores) for _ in texts))) for texts in references]
