"""The examples to look at: the most and the least agreed, and what was accepted at the largest loss."""

from collections.abc import Sequence

import numpy as np

from serve_app.core.types.answer import Generation
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.evaluate.row import DEFERRED, Row
from serve_app.evaluation.evaluate.shown_results import Extremes, ShownAnswer, ShownExample
from serve_app.evaluation.statistics.accepted import worst_accepted

SHOWN_EXAMPLES = 5
"""How many of each are shown."""


def extremes(view: CascadeView, rows: Sequence[Row]) -> Extremes | None:
    """Return the examples to look at, by the config's signal if it was evaluated; None without any."""
    compared = [row for row in rows if row.candidate.kind == "semantic" and row.candidate.tier.agreement == "max"]
    row = next((row for row in compared if row.candidate.tier.signal == view.tiers[0].signal), None)
    row = row or next(iter(compared), None)
    if row is None:
        return None
    scores = row.candidate.scored.scores
    ranked = [int(k) for k in view.test[np.argsort(scores[view.test], kind="stable")] if not np.isnan(scores[k])]
    most, least = ranked[::-1][:SHOWN_EXAMPLES], ranked[:SHOWN_EXAMPLES]
    worst = view.test[worst_accepted(row.sweep, DEFERRED, SHOWN_EXAMPLES)].tolist()
    groups = [tuple(_example(view, row, k) for k in examples) for examples in (most, least, worst)]
    return Extremes(row.label, groups[0], groups[1], DEFERRED, groups[2])


def _example(view: CascadeView, row: Row, k: int) -> ShownExample:
    example, selected = view.dataset.examples[k], int(row.candidate.scored.selected[k])
    answers, shows = {}, row.candidate.tier.compare
    for model in (*view.tiers[0].models, view.target):
        answer = view.dataset.replay.answers(model)[k]
        text = answer.compared if isinstance(answer, Generation) else None
        compared = None if shows is None or text is None else view.dataset.replay.texts(model, shows)[k]
        answers[model] = ShownAnswer(text, compared, float(view.quality(model)[k]))
    return ShownExample(
        id=example.id,
        inputs=example.prompt_inputs,
        references=tuple(example.references),
        agreement=float(row.candidate.scored.scores[k]),
        selected=view.tiers[0].models[selected] if selected >= 0 else None,
        answers=answers,
    )
