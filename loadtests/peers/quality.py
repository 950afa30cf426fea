"""Decision quality of our cascades and of peers on the same recorded answers, with paired intervals.

Each set's first cascade of docs/recorded/studies.yaml. One half of the examples is for choosing (our signal, every
threshold), the other is reported. "Ours" is the signal and policy with the largest area on the first half, of what the
study compares; "SBERT" is whole texts under the encoder that cascade-inference gets, too. A peer without a rule for
a budget gets its threshold as ours does: the best within 40% of the target's cost on the first half. One with a rule of
its own (ucci-router, automix-llm) decides by it, and our threshold is that which defers as much on the first half.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from rich.table import Table

from loadtests.peers import rules
from loadtests.peers.environments import UnavailableError
from loadtests.peers.rules import Decided, texts
from serve_app.evaluation.analysis.candidates import semantic
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.similarities import Similarities
from serve_app.evaluation.statistics.bootstrap import Interval, bootstrap, mean_of
from serve_app.evaluation.statistics.curves import Floats, Integers, sweep
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier, outcome
from serve_app.evaluation.statistics.thresholds import best_for_budget, for_rates
from serve_app.signals import build_signal
from serve_app.weights import RichProgress, fetch

BUDGET = 0.4
"""Of the target's cost: what each may spend."""


@dataclass(frozen=True)
class Comparison:
    """One of our cascades against one peer on one set; None where there is nothing to compare."""

    study: str
    ours: str
    peer: str
    area: Interval | None
    """Ours less the peer's."""
    quality: tuple[float, float] | None
    """Ours and the peer's, each by its threshold for the budget."""
    cost: tuple[float, float] | None
    """The same, as shares of the target's."""
    difference: Interval | None


def compare(study: str, dataset: Dataset, embedded: int) -> Iterator[Comparison | str]:
    """Yield every comparison on a set, or a sentence about a peer that is skipped.

    `embedded`: examples of each half at most whose whole texts are encoded, and on which cascade-inference is compared.
    """
    group, (id_, *_) = dataset.groups[-1], dataset.config.cascades
    view = CascadeView(dataset, group, id_, *dataset.parts(group.index, dataset.options.fit))
    candidate = max(
        (option for option in semantic(dataset, view.tiers[0], group.index) if option.kind == "semantic"),
        key=lambda option: view.sweep(option, view.fit).area,
    )
    unit = view.unit([candidate.tier])
    own_cost, target_cost = view.tier_costs([candidate.tier])[unit]
    target = RecordedTarget(view.quality(view.target), target_cost)
    own = RecordedTier(candidate.scored.scores, view.selected_quality(candidate), own_cost)
    name = f"{candidate.tier.signal} ({candidate.tier.agreement})"
    budget = BUDGET * float(target_cost[view.fit].mean())
    members_cost = _members_cost(view, unit)
    part = replace(view, fit=_some(view, view.fit, embedded), test=_some(view, view.test, embedded))
    vectors = _vectors(part)
    sbert = replace(
        own, scores=(scored := _sbert(part, vectors)).scores, selected=_selected(part, scored), cost=members_cost
    )
    first = view.cost(view.tiers[0].models[0])[unit]
    makers = {
        "cascade-inference": lambda: rules.cascade_inference(part, vectors, members_cost),
        "cascadeflow": lambda: rules.cascadeflow(view, first),
        "ucci-router": lambda: rules.ucci(view, own, target, budget),
        "automix-llm": lambda: rules.automix(view, own, target, budget),
    }
    for peer, decide in makers.items():
        try:
            decided = decide()
        except UnavailableError as problem:
            yield f"{study}: {peer} is skipped: {problem}"
            continue
        on = part if peer == "cascade-inference" else view
        yield _compared(study, name, on, own, target, decided, budget)
        if peer == "cascade-inference":
            yield _compared(study, "SBERT, whole texts", part, sbert, target, decided, budget)


def _compared(
    study: str,
    name: str,
    view: CascadeView,
    own: RecordedTier,
    target: RecordedTarget,
    decided: Decided,
    budget: float,
) -> Comparison:
    tested = target.take(view.test)
    area = None
    if decided.tier is not None:
        areas = {
            key: sweep(tier.scores[view.test], tier.selected[view.test], tested.quality).areas
            for key, tier in (("ours", own), ("peer", decided.tier))
        }
        area = bootstrap(areas, len(view.test)).difference("ours", "peer")
    if decided.escalated is not None:
        ours = _at_rate(view, own, target, float(decided.escalated.mean()))
        quality = np.where(decided.escalated, tested.quality, decided.selected[view.test])
        peers = quality, decided.cost[view.test] + np.where(decided.escalated, tested.cost, 0.0)
    else:
        ours = _by_threshold(view, own, target, budget)
        peers = None if decided.tier is None else _by_threshold(view, decided.tier, target, budget)
    if ours is None or peers is None:
        return Comparison(study, name, decided.peer, area, None, None, None)
    means = {"ours": mean_of(ours[0]), "peer": mean_of(peers[0])}
    whole = float(tested.cost.mean())
    return Comparison(
        study,
        name,
        decided.peer,
        area,
        (float(ours[0].mean()), float(peers[0].mean())),
        (float(ours[1].mean()) / whole, float(peers[1].mean()) / whole),
        bootstrap(means, len(view.test)).difference("ours", "peer"),
    )


def _by_threshold(
    view: CascadeView, tier: RecordedTier, target: RecordedTarget, budget: float
) -> tuple[Floats, Floats] | None:
    """Return quality and cost of the test examples under the best threshold for the budget on the fit examples.

    None if no threshold is within the budget there, or the tier has no scores of them.
    """
    if np.isnan(tier.scores[view.fit]).all():
        return None
    calibration = best_for_budget([tier.take(view.fit)], target.take(view.fit), budget)
    if not calibration.met:
        return None
    result = outcome([tier.take(view.test)], target.take(view.test), calibration.setting.thresholds)
    return result.quality, result.cost


def _at_rate(view: CascadeView, tier: RecordedTier, target: RecordedTarget, rate: float) -> tuple[Floats, Floats]:
    """Return quality and cost of the test examples under the threshold that defers this share of the fit examples."""
    calibration = for_rates([tier.scores[view.fit]], [rate])
    result = outcome([tier.take(view.test)], target.take(view.test), calibration.setting.thresholds)
    return result.quality, result.cost


def _members_cost(view: CascadeView, unit: Unit) -> Floats:
    return np.sum([view.cost(model)[unit] for model in view.tiers[0].models], axis=0)


def _vectors(view: CascadeView) -> dict[str, list[float]]:
    """Return the SBERT vector of every whole answer of a member."""
    config = view.dataset.config.signals["sbert"]
    with RichProgress() as progress:
        weights = fetch(config.weights, config.sha256, progress=progress, name="sbert")
    index = [*view.fit, *view.test]
    columns = [texts(view, model) for model in view.tiers[0].models]
    distinct = list(dict.fromkeys(column[k] for column in columns for k in index))
    embeddings = build_signal(config, weights).embed(distinct)
    return {
        text: np.frombuffer(embedding.vector, dtype="<f4").round(7).tolist()
        for text, embedding in zip(distinct, embeddings, strict=True)
    }


def _sbert(view: CascadeView, vectors: dict[str, list[float]]):
    """Return the tier's scores by SBERT on whole texts."""
    columns = [texts(view, model) for model in view.dataset.members]
    missing = [0.0] * len(next(iter(vectors.values())))
    rows = [np.array([vectors.get(text, missing) for text in row]) for row in zip(*columns, strict=True)]
    matrices = np.stack([np.clip(row @ row.T, -1.0, 1.0) for row in rows])
    replay = view.dataset.replay
    replay.similarities.setdefault(None, {})["sbert"] = Similarities(matrices, None, 0.0)
    tier = replace(view.tiers[0], signal="sbert", compare=None, confidence=None, blend=None, signal_range=None)
    return replay.score(tier, None, np.concatenate([view.fit, view.test]))


def _some(view: CascadeView, index: Integers, most: int) -> Integers:
    """Return at most so many of the examples, by the hashes of their ids."""
    return index[np.argsort(view.dataset.shares[index])][:most]


def _selected(view: CascadeView, scored) -> Floats:
    return scored.take(view.qualities(view.tiers[0].models))


def table(comparisons: list[Comparison]) -> Table:
    """Return a row for each comparison."""
    shown = Table("set", "ours", "peer", "AUC, ours less peer", "quality (cost): ours", "peer", "difference")
    for comparison in comparisons:
        own, peer = ("-", "-") if comparison.quality is None else map(_at, comparison.quality, comparison.cost or ())
        shown.add_row(
            comparison.study,
            comparison.ours,
            comparison.peer,
            _signed(comparison.area),
            own,
            peer,
            _signed(comparison.difference),
        )
    return shown


def _at(quality: float, cost: float) -> str:
    return f"{quality:.3f} ({cost:.0%})"


def _signed(values: Interval | None) -> str:
    return "-" if values is None else f"{values.estimate:+.3f} [{values.low:+.3f}, {values.high:+.3f}]"
