"""Every way to judge a tier's answers that the records allow: signals and policies, and the token-level baselines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from serve_app.core.types import Generation, Tier
from serve_app.errors import SignalError
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.replay import TierScores
from serve_app.evaluation.statistics.curves import Integers
from serve_app.signals import ChowConfig, confidence, fit_zscores

Kind = Literal["semantic", "fixed", "chow_member", "chow_ensemble"]
QUANTILES = tuple(k / 10 for k in range(11))
FIT_ANSWERS = 2000
"""More would not change a mean and a deviation that anyone could see."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A tier scored in one way, on the examples of a group. `chow`: its token-level part, with fitted z-scores."""

    kind: Kind
    scored: TierScores
    chow: ChowConfig | None = None

    @property
    def tier(self) -> Tier:
        return self.scored.tier


def semantic(dataset: Dataset, tier: Tier, index: Integers) -> Iterator[Candidate]:
    """The tier under every signal, s as the maximum and as the mean; then with a fixed answer kept.

    `tier` is the config's; its direction, `truncated` and `min_answers` are kept.
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
        kept = replace(base, agreement="max", select=fixed)
        yield Candidate("fixed", dataset.replay.score(kept, chow, index), chow)


def token_level(dataset: Dataset, tier: Tier, fit: Integers, index: Integers) -> tuple[list[Candidate], list[str]]:
    """Each member alone, and all together with z-scores fitted on `fit`: by sum, average and every quantile.

    Of all together s is the maximum, then the mean. The second part says in sentences what could not be had.
    """
    found: list[Candidate] = []
    notes: list[str] = []
    silent = [model for model in tier.models if not _has_logprobs(dataset, model)]
    if silent:
        notes.append(f"No log-probabilities of {', '.join(silent)} in the records, so no Chow signal of theirs.")
    for model in tier.models:
        if model not in silent:
            dataset.replay.prepare(model, chows())
            found += [_token_level("chow_member", dataset, _alone(tier, model, chow), chow, index) for chow in chows()]
    if silent or len(tier.models) < 2:
        return found, notes
    try:
        for fitted in fitted_chows(dataset, tier.models, fit):
            ensemble = replace(_alone(tier, "", fitted), models=tier.models, min_answers=max(2, tier.min_answers))
            for agreement in ("max", "mean"):
                scored = replace(ensemble, agreement=agreement)
                found.append(_token_level("chow_ensemble", dataset, scored, fitted, index))
    except SignalError as error:
        notes.append(f"No Chow ensemble: {error}")
    return found, notes


def chows() -> list[ChowConfig]:
    """All token-level signals, without z-scores."""
    plain = [ChowConfig(kind="chow_sum"), ChowConfig(kind="chow_avg")]
    return [*plain, *(ChowConfig(kind="chow_quantile", q=q) for q in QUANTILES)]


def fitted_chows(dataset: Dataset, models: Sequence[str], fit: Integers) -> list[ChowConfig]:
    """The same, with z-scores from the models' answers to the examples `fit`. SignalError where there are too few."""
    rows = [dataset.rows[k] for k in fit_sample(fit)]
    answers: dict[str, list[Generation]] = {}
    for model in models:
        column = dataset.records.answers[model]
        answers[model] = [answer for row in rows if isinstance(answer := column[row], Generation)]
    return [fit_zscores(chow, answers) for chow in chows()]


def fit_sample(index: Integers) -> Integers:
    """So many of the examples to fit on, evenly over all of them: data sets stand one after another."""
    count = min(FIT_ANSWERS, len(index))
    return index[np.arange(count) * len(index) // max(1, count)]


def _alone(tier: Tier, model: str, chow: ChowConfig) -> Tier:
    """`truncated` is kept; a single answer needs no other, and a mean of one is itself."""
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


def _has_logprobs(dataset: Dataset, model: str) -> bool:
    column = dataset.records.answers[model]
    return any(column.logprobs(row) for row in dataset.rows)
