"""The quality of answers: 0 to 1, higher is better, the best over an example's references. Any metric, any task.

exact_match, f1        SQuAD 1.1's, with its official normalisation, over all references
accuracy               ours, as the paper defines none: some reference occurs in the answer (`squad.accuracy`)
bleu, chrf             sacreBLEU's sentence scores / 100, by our signals; their mean is not a corpus score
rouge1, rouge2, rougeL rouge-score's F1, by our signals
bleurt                 the signal, in its own environment; the rare value outside of 0..1 is cut to it

A failed answer has quality 0, and so has an empty one. An answer that calls tools is graded by the calls as JSON.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan
from typing import Any

from serve_app.core.types import Answer, Failure
from serve_app.errors import DataError, choices
from serve_app.evaluation.metrics.bleurt_process import score_pairs
from serve_app.evaluation.metrics.squad import accuracy, exact_match, f1
from serve_app.evaluation.records.example import Example
from serve_app.signals import DEFAULT_SIGNALS, BleurtConfig, build_signal
from serve_app.signals.base import LexicalSignal

Compare = Callable[[Sequence[str], Sequence[str]], list[float]]
"""The answers to one example and its references -> the best value of each answer; no text of them is empty."""

PLAIN: dict[str, Callable[[str, str], float]] = {"exact_match": exact_match, "f1": f1, "accuracy": accuracy}
LEXICAL = ("bleu", "chrf", "rouge1", "rouge2", "rougeL")
METRICS = (*PLAIN, *LEXICAL, "bleurt")


def qualities(
    metric: str,
    examples: Sequence[Example],
    answers: Mapping[str, Sequence[Answer | None]],
    bleurt: BleurtConfig | None = None,
) -> dict[str, list[float]]:
    """Return each model's quality on each example, 0..1; NaN if it was not asked.

    `answers[model]` runs over `examples`, as in `Records`. `bleurt` says where that metric's checkpoint and environment
    are. Raises `DataError` if the metric is unknown or an example has no references, `SignalError` and
    `WeightsError` if BLEURT cannot run.
    """
    if metric not in METRICS:
        raise DataError(f"There is no metric {metric!r}. {choices(metric, METRICS)}")
    if bare := next((example for example in examples if not example.references), None):
        raise DataError(f"The example {bare.id!r} has no references, so answers to it have no quality.")
    texts = {model: [_text(answer) for answer in column] for model, column in answers.items()}
    rows = [[column[i] for column in texts.values()] for i in range(len(examples))]
    if metric == "bleurt":
        scored = _bleurt(examples, rows, bleurt or BleurtConfig())
    else:
        compare = _compare(metric)
        scored = [_scored(compare, example.references, row) for example, row in zip(examples, rows, strict=True)]
    return {model: [row[column] for row in scored] for column, model in enumerate(texts)}


def _text(answer: Answer | None) -> str | None:
    """Return the text to grade: empty for a failure, None if the model was not asked."""
    if answer is None:
        return None
    return "" if isinstance(answer, Failure) else answer.compared


def _scored(compare: Compare, references: Iterable[str], row: Sequence[str | None]) -> list[float]:
    texts = list(dict.fromkeys(text for text in row if text and text.strip()))
    references = list(dict.fromkeys(text for text in references if text.strip()))
    best = dict(zip(texts, compare(texts, references), strict=True)) if references else {}
    return [nan if text is None else best.get(text, 0.0) for text in row]


def _compare(metric: str) -> Compare:
    if metric in PLAIN:
        value = PLAIN[metric]
        return lambda texts, references: [max(value(text, reference) for reference in references) for text in texts]
    signal: Any = build_signal(DEFAULT_SIGNALS[metric])
    return lambda texts, references: _lexical(signal, texts, references)


def _lexical(signal: LexicalSignal[Any], texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return each text's best value; texts are prepared once, and references are not compared with each other."""
    distinct = list(dict.fromkeys([*texts, *references]))
    features = dict(zip(distinct, signal.prepare(distinct), strict=True))

    def value(text: str, reference: str) -> float:
        if text == reference:
            return signal.itself(features[text])
        return signal.pair(features[text], features[reference])[0]

    return [max(value(text, reference) for reference in references) for text in texts]


def _bleurt(
    examples: Sequence[Example], rows: Sequence[Sequence[str | None]], config: BleurtConfig
) -> list[list[float]]:
    """Return the values of all examples, with each distinct pair sent to BLEURT once, all in one call."""
    values_of: dict[tuple[str, str], float] = {}

    def note(texts: Sequence[str], references: Sequence[str]) -> list[float]:
        values_of.update(dict.fromkeys(((text, reference) for text in texts for reference in references), 0.0))
        return [0.0] * len(texts)

    for example, row in zip(examples, rows, strict=True):
        _scored(note, example.references, row)
    values = (min(1.0, max(0.0, value)) for value in score_pairs(config, list(values_of)))
    values_of.update(zip(values_of, values, strict=True))

    def best(texts: Sequence[str], references: Sequence[str]) -> list[float]:
        return [max(values_of[text, reference] for reference in references) for text in texts]

    return [_scored(best, example.references, row) for example, row in zip(examples, rows, strict=True)]
