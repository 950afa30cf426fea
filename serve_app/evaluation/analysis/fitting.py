"""What a cascade's signal needs to be measured on examples: z-scores of confidences, and the weights of a blend."""

from collections.abc import Sequence
from dataclasses import replace

from serve_app.config import AppConfig
from serve_app.core.types import Generation, Tier
from serve_app.errors import ConfigError
from serve_app.evaluation.analysis.candidates import fit_sample
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.statistics.curves import Integers
from serve_app.signals import AnySignalConfig, BlendConfig, ChowConfig, fit_blend, fit_zscores


def fitted(dataset: Dataset, index: Integers) -> dict[str, AnySignalConfig]:
    """The signals of the data set's only cascade that have something to fit, by name, fitted on the examples `index`.

    A blend brings its token-level part with it, and needs references: an answer is good if it is at least as good as
    the target's. Tiers that share a token-level signal have their z-scores in it side by side. Raises ConfigError
    where there is nothing to fit, or one blend judges two tiers; SignalError where too little is known.
    """
    [id_] = dataset.config.cascades
    config = dataset.config
    tiers = config.tiers(id_, config.thresholds()[id_])[:-1]
    names = [tier.signal for tier in tiers if tier.signal]
    chows: dict[str, ChowConfig] = {}
    asked: dict[str, list[str]] = {}
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
        asked.setdefault(key, []).extend(tier.models)
    if not chows:
        named = " or ".join(map(repr, dict.fromkeys(names)))
        raise ConfigError(f"{named} has nothing to fit: that is for token-level signals and blends.")
    rows = [dataset.rows[k] for k in fit_sample(index)]
    measured = {name: _zscored(dataset, asked[name], chow, rows) for name, chow in chows.items()}
    weighted = {
        name: _weighted(dataset, tier, signal, measured[signal.confidence], index)
        for name, (tier, signal) in blends.items()
    }
    return {**measured, **weighted}


def _zscored(dataset: Dataset, models: Sequence[str], chow: ChowConfig, rows: Sequence[int]) -> ChowConfig:
    answers = {
        model: [answer for row in rows if isinstance(answer := dataset.records.answers[model][row], Generation)]
        for model in models
    }
    return fit_zscores(chow, answers)


def _weighted(dataset: Dataset, tier: Tier, signal: BlendConfig, chow: ChowConfig, index: Integers) -> BlendConfig:
    """Logistic regression over every answer that was compared, with its confidence."""
    group, config = dataset.groups[-1], dataset.config
    quality = group.quality[group.metrics[0]]
    target = config.cascades[next(iter(config.cascades))].tiers[-1].models[0]
    plain = replace(tier, signal=signal.agreement, blend=None, confidence=None)
    scored = dict(zip(index.tolist(), dataset.replay.agreements(plain, index), strict=True))
    columns = {model: dataset.replay.confidences(chow, model) for model in tier.models}
    pairs: list[tuple[float, float]] = []
    good: list[bool] = []
    for place, k in enumerate(group.index.tolist()):
        if k not in scored or scored[k].value is None:
            continue
        for model, score in zip(tier.models, scored[k].output_scores, strict=True):
            if score is not None:
                pairs.append((score, float(columns[model][k])))
                good.append(bool(quality[model][place] >= quality[target][place]))
    return fit_blend(signal, pairs, good)


def with_signals(config: AppConfig, signals: dict[str, AnySignalConfig]) -> AppConfig:
    """The config with these signals under their names."""
    return config.model_copy(update={"signals": {**config.signals, **signals}})
