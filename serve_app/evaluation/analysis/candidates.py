"""Every way to score a tier's answers that the records allow: signals and policies, and the token-level baselines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from serve_app.core.types.policy import Tier
from serve_app.errors import SignalError
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.replay import TierScores
from serve_app.evaluation.statistics.curves import Integers
from serve_app.signals import ChowConfig, confidence, fit_zscores

Kind = Literal["semantic", "fixed", "chow_member", "chow_ensemble"]
QUANTILES = tuple(k / 10 for k in range(11))
FIT_ANSWERS = 2000
"""z-scores are fitted on at most so many answers: more would not visibly change a mean and a deviation."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A tier scored in one way. `chow`: its token-level part, with fitted z-scores."""

    kind: Kind
    scored: TierScores
    chow: ChowConfig | None = None

    @property
    def tier(self) -> Tier:
        return self.scored.tier


def semantic(dataset: Dataset, tier: Tier, index: Integers) -> Iterator[Candidate]:
    """Yield the tier under every signal: agreement as the maximum, as the mean, and with a fixed member's answer.

    `tier` is the config's; its direction, `truncated` and `min_answers` stay. `index`: the examples to score.
    """
    if len(tier.models) < 2:
        return
    fixed = dataset.options.fixed if dataset.options.fixed in tier.models else tier.select or tier.models[0]
    for name, signal in dataset.signals.items():
        chow = dataset.config.confidence_of(name)
        if chow is not None and not set(tier.models) <= set(chow.zscores):
            continue
        base = replace(
            tier,
            signal=name,
            select=None,
            min_answers=max(2, tier.min_answers),
            confidence=confidence(chow) if chow else None,
            blend=signal.blend_rule(),
        )
        for agreement in ("max", "mean"):
            yield Candidate("semantic", dataset.replay.score(replace(base, agreement=agreement), chow, index), chow)
        fixed_tier = replace(base, agreement="max", select=fixed)
        yield Candidate("fixed", dataset.replay.score(fixed_tier, chow, index), chow)


def as_configured(dataset: Dataset, tier: Tier, index: Integers) -> Candidate:
    """Return a tier of the data set's config, scored by its own signal. `index`: the examples to score."""
    assert tier.signal is not None
    chow = dataset.config.confidence_of(tier.signal)
    return Candidate("semantic", dataset.replay.score(tier, chow, index), chow)


def token_level(dataset: Dataset, tier: Tier, fit: Integers, index: Integers) -> tuple[list[Candidate], list[str]]:
    """Return each member alone, and all together with z-scores fitted on `fit`: by sum, average and every quantile.

    All together are scored by the maximum, then by the mean. Also returns sentences about what the records lack.
    """
    candidates: list[Candidate] = []
    notes: list[str] = []
    silent = [model for model in tier.models if not dataset.replay.has_logprobs(model)]
    if silent:
        notes.append(f"No log-probabilities of {', '.join(silent)} in the records, so no Chow signal of theirs.")
    for model in tier.models:
        if model not in silent:
            dataset.replay.prepare(model, chows())
            candidates += [
                _token_level("chow_member", dataset, _alone(tier, model, chow), chow, index) for chow in chows()
            ]
    if silent or len(tier.models) < 2:
        return candidates, notes
    try:
        for ensemble_chow in fitted_chows(dataset, tier.models, fit):
            ensemble = replace(
                _alone(tier, "", ensemble_chow), models=tier.models, min_answers=max(2, tier.min_answers)
            )
            for agreement in ("max", "mean"):
                variant = replace(ensemble, agreement=agreement)
                candidates.append(_token_level("chow_ensemble", dataset, variant, ensemble_chow, index))
    except SignalError as error:
        notes.append(f"No Chow ensemble: {error}")
    return candidates, notes


def chows() -> list[ChowConfig]:
    """Return all token-level signals, without z-scores."""
    plain = [ChowConfig(kind="chow_sum"), ChowConfig(kind="chow_avg")]
    return [*plain, *(ChowConfig(kind="chow_quantile", q=q) for q in QUANTILES)]


def fitted_chows(dataset: Dataset, models: Sequence[str], fit: Integers) -> list[ChowConfig]:
    """Return `chows` with z-scores of the models' answers to the examples `fit`. Raises SignalError if too few."""
    sample = fit_sample(fit)
    answers = {model: dataset.replay.generations(model, sample) for model in models}
    return [fit_zscores(chow, answers) for chow in chows()]


def fit_sample(index: Integers) -> Integers:
    """Return at most `FIT_ANSWERS` of the examples, evenly spread: data sets follow one after another."""
    count = min(FIT_ANSWERS, len(index))
    return index[np.arange(count) * len(index) // max(1, count)]


def _alone(tier: Tier, model: str, chow: ChowConfig) -> Tier:
    """Return a tier of one model: it needs no other answer, and a mean of one score is that score."""
    return replace(
        tier,
        models=(model,),
        signal=chow.kind,
        agreement="mean",
        select=None,
        min_answers=1,
        confidence=confidence(chow),
        blend=None,
    )


def _token_level(kind: Kind, dataset: Dataset, tier: Tier, chow: ChowConfig, index: Integers) -> Candidate:
    return Candidate(kind, dataset.replay.score(tier, chow, index), chow)
