"""The quality of answers: 0 to 1, higher is better, the best over an example's references. Any metric, any task.

exact_match, f1           SQuAD 1.1's, with its official normalisation, over all references
triviaqa_em, triviaqa_f1  TriviaQA's, with its own
accuracy                  ours, as the paper defines none: some reference occurs in the answer (`squad.accuracy`)
bleu, chrf                sacreBLEU's sentence scores / 100, by our signals; their mean is not a corpus score
rouge1, rouge2, rougeL    rouge-score's F1, by our signals, with its stemmer (the paper's table 5 is made with it)
exact, json               those signals, against the reference
bleurt                    the signal, in its own environment; the rare value outside of 0..1 is cut to it

A signal of the config takes the place of the metric of its name, and any other one that needs no weights may be named,
too. A failed answer has quality 0, and so has an empty one. An answer that calls tools is graded by the calls as JSON.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any

from serve_app.core.deciding.agreement import compared
from serve_app.core.types.answer import Answer
from serve_app.core.views.view import View
from serve_app.errors import DataError
from serve_app.evaluation.metrics.bleurt_process import score_pairs
from serve_app.evaluation.metrics.function_process import score_answers
from serve_app.evaluation.metrics.squad import accuracy, exact_match, f1, triviaqa_em, triviaqa_f1
from serve_app.evaluation.records.example import Example
from serve_app.signals import BleurtConfig, SignalConfig, build_signal, is_isolated
from serve_app.signals.base import LexicalSignal


@dataclass(frozen=True, slots=True)
class Graded:
    """Distinct answers to one example, and the references they are graded against; no text is empty."""

    example: Example
    answers: tuple[str, ...]
    references: tuple[str, ...]


Grade = Callable[[Sequence[Graded]], list[list[float]]]
"""Answers to several examples -> the value of each answer to each example, the best over the references."""

PLAIN: dict[str, Callable[[str, str], float]] = {
    "exact_match": exact_match,
    "f1": f1,
    "accuracy": accuracy,
    "triviaqa_em": triviaqa_em,
    "triviaqa_f1": triviaqa_f1,
}
LEXICAL = ("exact", "bleu", "chrf", "rouge1", "rouge2", "rougeL", "json")
BINARY = ("exact_match", "accuracy", "triviaqa_em", "exact")


@dataclass(frozen=True, slots=True)
class Metric:
    """One way to grade answers. `kind` is what it computes: that of its signal, if it is one.

    With a `view`, only what it takes of answers and references is graded.
    """

    name: str
    kind: str
    grade: Grade
    view: View | None = None

    @property
    def binary(self) -> bool:
        """Return whether every quality is 0 or 1."""
        return self.kind in BINARY


def qualities(
    metric: Metric, examples: Sequence[Example], answers: Mapping[str, Sequence[Answer | None]]
) -> dict[str, list[float]]:
    """Return each model's quality on each example, 0..1; NaN if it was not asked.

    `answers[model]` runs over `examples`, as in `Records`. Raises `DataError` if an example has no references,
    `SignalError` and `WeightsError` if the metric cannot run.
    """
    if bare := next((example for example in examples if not example.references), None):
        raise DataError(f"The example {bare.id!r} has no references: add them, or name a recorded score with --metric.")
    texts = {model: [_text(answer, metric.view) for answer in column] for model, column in answers.items()}
    # A gold answer may be bare where answers are marked: \boxed{18} against 18.
    view = replace(metric.view or View(), otherwise="whole")
    graded = [
        Graded(example, _distinct(column[i] for column in texts.values()), _distinct(map(view.of, example.references)))
        for i, example in enumerate(examples)
    ]
    jobs = [job for job in graded if job.answers and job.references]
    values = {
        (job.example.id, answer): value
        for job, row in zip(jobs, metric.grade(jobs), strict=True)
        for answer, value in zip(job.answers, row, strict=True)
    }
    return {
        model: [
            nan if text is None else values.get((example.id, text), 0.0)
            for example, text in zip(examples, column, strict=True)
        ]
        for model, column in texts.items()
    }


def _text(answer: Answer | None, view: View | None) -> str | None:
    """Return the text to grade: empty for a failure, None if the model was not asked."""
    return None if answer is None else compared(answer, view)


def _distinct(texts: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text and text.strip()))


def by_pairs(value: Callable[[str, str], float]) -> Grade:
    """Return the grade by a value of one answer against one reference."""
    return lambda jobs: [
        [max(value(answer, text) for text in job.references) for answer in job.answers] for job in jobs
    ]


def by_signal(config: SignalConfig) -> Grade:
    """Return the grade by a signal that needs no weights, or by BLEURT."""
    if is_isolated(config):
        return lambda jobs: _bleurt(config, jobs)
    signal: Any = build_signal(config)
    return lambda jobs: [_lexical(signal, job.answers, job.references) for job in jobs]


def by_function(path: str, environment: str | None, options: Mapping[str, Any]) -> Grade:
    """Return the grade by a user's own function, `module:function`."""

    def grade(jobs: Sequence[Graded]) -> list[list[float]]:
        flat = [(answer, job) for job in jobs for answer in job.answers]
        values = iter(
            score_answers(
                path,
                [answer for answer, _ in flat],
                [job.references for _, job in flat],
                [job.example.prompt_inputs for _, job in flat],
                environment=environment,
                options=options,
            )
        )
        return [[next(values) for _ in job.answers] for job in jobs]

    return grade


def _lexical(signal: LexicalSignal[Any], texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return each text's best value; texts are prepared once, and references are not compared with each other."""
    distinct = list(dict.fromkeys([*texts, *references]))
    features = dict(zip(distinct, signal.prepare(distinct), strict=True))

    def value(text: str, reference: str) -> float:
        if text == reference:
            return signal.itself(features[text])
        return signal.pair(features[text], features[reference])[0]

    return [max(value(text, reference) for reference in references) for text in texts]


def _bleurt(config: BleurtConfig, jobs: Sequence[Graded]) -> list[list[float]]:
    """Return the values of all answers, with each distinct pair sent to BLEURT once, all in one call."""
    pairs = list(dict.fromkeys((text, ref) for job in jobs for text in job.answers for ref in job.references))
    values = dict(zip(pairs, (min(1.0, max(0.0, value)) for value in score_pairs(config, pairs)), strict=True))
    return [[max(values[answer, text] for text in job.references) for answer in job.answers] for job in jobs]
