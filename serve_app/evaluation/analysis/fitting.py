"""Fits a cascade's signals on examples: z-scores of confidences, and the weights of a blend."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from serve_app.core.types.policy import Tier
from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.analysis.candidates import fit_sample
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.statistics.curves import Integers
from serve_app.signals import AnySignalConfig, BlendConfig, ChowConfig, fit_blend, fit_zscores


def fitted(dataset: Dataset, index: Integers) -> dict[str, AnySignalConfig]:
    """Fit the signals of the data set's only cascade on the examples `index`; return them by name.

    A blend brings its token-level part with it, and needs references: an answer is good if it is at least as good as
    the target's. Tiers that share a token-level signal have their z-scores in it side by side. Raises ConfigError
    if there is nothing to fit, or if one blend scores two tiers; DataError if a blend's examples have no references;
    SignalError if there are too few answers.
    """
    [id_] = dataset.config.cascades
    config = dataset.config
    tiers = config.tiers(id_, config.thresholds()[id_])[:-1]
    names = [tier.signal for tier in tiers if tier.signal]
    chows: dict[str, ChowConfig] = {}
    scored_models: dict[str, list[str]] = {}
    blends: dict[str, tuple[Tier, BlendConfig]] = {}
    for tier, name in zip(tiers, names, strict=True):
        if (chow := config.confidence_of(name)) is None:
            continue
        key = name
        if blend := config.all_signals().blends().get(name):
            if name in blends:
                raise ConfigError(f"{name!r} judges several tiers, whose weights differ: define a blend for each.")
            blends[name], key = (tier, blend), blend.confidence
        chows[key] = chow
        scored_models.setdefault(key, []).extend(tier.models)
    if not chows:
        signals = " or ".join(map(repr, dict.fromkeys(names)))
        raise ConfigError(f"{signals} has nothing to fit: that is for token-level signals and blends.")
    sample = fit_sample(index)
    measured = {name: _zscored(dataset, scored_models[name], chow, sample) for name, chow in chows.items()}
    weighted = {
        name: _weighted(dataset, tier, signal, measured[signal.confidence], index)
        for name, (tier, signal) in blends.items()
    }
    return {**measured, **weighted}


def _zscored(dataset: Dataset, models: Sequence[str], chow: ChowConfig, sample: Integers) -> ChowConfig:
    return fit_zscores(chow, {model: dataset.replay.generations(model, sample) for model in dict.fromkeys(models)})


def _weighted(dataset: Dataset, tier: Tier, signal: BlendConfig, chow: ChowConfig, index: Integers) -> BlendConfig:
    """Fit a blend's weights by logistic regression over every answer that was compared, with its confidence."""
    group = dataset.groups[-1]
    if not group.metrics:
        raise DataError("A blend is fitted to the quality of answers, but some examples have no references.")
    quality = group.quality[group.metrics[0]]
    [cascade] = dataset.config.cascades.values()
    [target] = cascade.tiers[-1].models
    plain = replace(tier, signal=signal.agreement, blend=None, confidence=None)
    agreements = dict(zip(index.tolist(), dataset.replay.agreements(plain, index), strict=True))
    confidences = {model: dataset.replay.confidences(chow, model) for model in tier.models}
    pairs: list[tuple[float, float]] = []
    good: list[bool] = []
    for k in group.index.tolist():
        if k not in agreements or agreements[k].value is None:
            continue
        for model, score in zip(tier.models, agreements[k].output_scores, strict=True):
            if score is not None:
                pairs.append((score, float(confidences[model][k])))
                good.append(bool(quality[model][k] >= quality[target][k]))
    return fit_blend(signal, pairs, good)


def with_signals(dataset: Dataset, signals: Mapping[str, AnySignalConfig]) -> Dataset:
    """Return the data set with these signals under their names, in its config and in its replay.

    Only fitted or composite signals may differ: similarities of plain signals are not computed again.
    """
    config = dataset.config.model_copy(update={"signals": {**dataset.config.signals, **signals}})
    evaluated = {name: signals.get(name, signal) for name, signal in dataset.signals.items()}
    return replace(dataset, config=config, signals=evaluated, replay=dataset.replay.with_config(config))
