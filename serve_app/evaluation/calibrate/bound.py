"""A goal that is tested: its losses, and the thresholds under which they are shown to be low enough."""

from collections.abc import Sequence

import numpy as np

from serve_app.core.deciding.agreement import output_scores
from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.analysis.candidates import Candidate
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.similarities import measure, plain_signals
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.statistics.curves import Floats, Integers
from serve_app.evaluation.statistics.risk import (
    Bounds,
    RiskBound,
    all_thresholds,
    bound_risk,
    candidate_path,
    disagreement_losses,
    from_best,
    quality_differences,
    quality_losses,
)

SEARCHED = 10_000
"""Up to so many examples a risk bound tests each one's threshold, which takes quadratic time: 2 s for these."""


def scores_on(candidates: Sequence[Candidate], part: Integers) -> list[Floats]:
    """Return each tier's scores on some of the examples."""
    return [candidate.scored.scores[part] for candidate in candidates]


def needs_path(goal: Goal, tiers: int, examples: int) -> bool:
    """Return whether the thresholds that a goal tests must come from other examples than those it tests them on."""
    return goal.tested_delta is not None and (tiers > 1 or examples > SEARCHED or not goal.falls_with_threshold)


def bound_by_test(
    view: CascadeView, candidates: Sequence[Candidate], goal: Goal, choose: Integers, tune: Integers
) -> RiskBound:
    """Return the thresholds that a risk bound or a tested quality allows, of those on `choose` or, if valid, of all."""
    bounds, alpha, tiers, target = _losses(view, candidates, goal)
    scores = scores_on(candidates, tune)
    floor = goal.quality is not None
    if needs_path(goal, len(candidates), len(tune)):
        path = candidate_path(scores_on(candidates, choose), defer_all=floor)
    else:
        path = all_thresholds(scores[0])
    if not len(path):
        signals = " or ".join(dict.fromkeys(repr(candidate.tier.signal) for candidate in candidates))
        raise DataError(f"None of the examples has a score by {signals}.")
    if floor:
        path = from_best(scores_on(candidates, choose), [loss[choose] for loss in tiers], target[choose], path)
    assert goal.tested_delta is not None
    return bound_risk(
        scores,
        [loss[tune] for loss in tiers],
        path,
        alpha=alpha,
        delta=goal.tested_delta,
        binary=bounds in ("quality_loss", "error") and view.metric in view.group.binary,
        bounds=bounds,
        target_losses=target[tune],
    )


def _losses(
    view: CascadeView, candidates: Sequence[Candidate], goal: Goal
) -> tuple[Bounds, float, list[Floats], Floats]:
    """Return what a goal bounds, the bound, and the (n,) losses of each tier's answers and of the target's."""
    nothing = np.zeros(len(view.dataset))
    if goal.label_free:
        assert goal.risk is not None
        signal = _comparing_signal(view.dataset, candidates)
        likeness = [_likeness(view, candidate, signal) for candidate in candidates]
        return "disagreement", goal.risk, [disagreement_losses(values) for values in likeness], nothing
    target, selected = view.quality(view.target), [view.selected_quality(candidate) for candidate in candidates]
    if goal.quality is not None:
        return "error", 1 - goal.quality, [1 - quality for quality in selected], 1 - target
    assert goal.risk is not None
    if goal.loss == "signed":
        return "quality_difference", goal.risk, [quality_differences(quality, target) for quality in selected], nothing
    return "quality_loss", goal.risk, [quality_losses(quality, target) for quality in selected], nothing


def _comparing_signal(dataset: Dataset, candidates: Sequence[Candidate]) -> str:
    """Return the signal that compares answers with the target's: the first tier's that compares texts by itself."""
    names = [candidate.tier.signal or "" for candidate in candidates]
    signal = next((name for name in names if list(plain_signals(dataset.config, [name])) == [name]), None)
    if signal is None:
        signals = " or ".join(map(repr, dict.fromkeys(names)))
        raise ConfigError(f"--label-free compares texts by the cascade's signal, which {signals} alone cannot do.")
    return signal


def _likeness(view: CascadeView, candidate: Candidate, signal: str) -> Floats:
    """Return how far each selected answer agrees with the target's by that signal, (n,); 0 if none is selected."""
    dataset, tier = view.dataset, candidate.tier
    target, selected = dataset.replay.texts(view.target, tier.compare), candidate.scored.selected
    members = [dataset.replay.texts(model, tier.compare) for model in tier.models]
    pairs = [(members[member][k] if member >= 0 else "", target[k]) for k, member in enumerate(selected.tolist())]
    signals = plain_signals(dataset.config, [signal])
    matrices = measure(signals, pairs, dataset.options.processes)[signal]
    likeness = [output_scores(matrices.of(k, (0, 1)))[0] for k in range(len(pairs))]
    return np.where(selected >= 0, likeness, 0.0)
