"""What a cascade's signal needs to be measured on examples: z-scores of confidences, and the weights of a blend."""

from collections.abc import Sequence
from dataclasses import replace

from serve_app.config import AppConfig
from serve_app.core.types import Generation, Tier
from serve_app.errors import ConfigError
from serve_app.evaluation.curves import Integers
from serve_app.evaluation.material import Material
from serve_app.evaluation.policies import FIT_ANSWERS
from serve_app.signals import AnySignalConfig, BlendConfig, ChowConfig, fit_blend, fit_zscores


def fitted(material: Material, index: Integers) -> dict[str, AnySignalConfig]:
    """The signals of the material's only cascade's first tier, by name, fitted on the examples `index`.

    A blend brings its token-level part with it, and needs references: an answer is good if it is at least as good as
    the target's. Raises ConfigError where there is nothing to fit, SignalError where too little is known.
    """
    [id_] = material.config.cascades
    tier = material.config.tiers(id_, material.config.thresholds()[id_])[0]
    assert tier.signal is not None
    signal, chow = material.config.all_signals()[tier.signal], material.config.confidence_of(tier.signal)
    if chow is None:
        raise ConfigError(f"{tier.signal!r} has nothing to fit: that is for token-level signals and blends.")
    rows = [material.rows[k] for k in index[:FIT_ANSWERS]]
    measured = _zscored(material, tier.models, chow, rows)
    if not isinstance(signal, BlendConfig):
        return {tier.signal: measured}
    return {signal.confidence: measured, tier.signal: _weighted(material, tier, signal, measured, index)}


def _zscored(material: Material, models: Sequence[str], chow: ChowConfig, rows: Sequence[int]) -> ChowConfig:
    answers = {
        model: [answer for row in rows if isinstance(answer := material.records.answers[model][row], Generation)]
        for model in models
    }
    return fit_zscores(chow, answers)


def _weighted(material: Material, tier: Tier, signal: BlendConfig, chow: ChowConfig, index: Integers) -> BlendConfig:
    """Logistic regression over every answer that was compared, with its confidence."""
    group, config = material.groups[-1], material.config
    quality = group.quality[group.metrics[0]]
    target = config.cascades[next(iter(config.cascades))].tiers[-1].models[0]
    plain = replace(tier, signal=signal.agreement, blend=None, confidence=None)
    judged = dict(zip(index.tolist(), material.evidence.agreements(plain, index), strict=True))
    columns = {model: material.evidence.confidences(chow, model) for model in tier.models}
    pairs: list[tuple[float, float]] = []
    good: list[bool] = []
    for place, k in enumerate(group.index.tolist()):
        if k not in judged or judged[k].value is None:
            continue
        for model, score in zip(tier.models, judged[k].output_scores, strict=True):
            if score is not None:
                pairs.append((score, float(columns[model][k])))
                good.append(bool(quality[model][place] >= quality[target][place]))
    return fit_blend(signal, pairs, good)


def with_signals(config: AppConfig, signals: dict[str, AnySignalConfig]) -> AppConfig:
    """The config with these signals under their names."""
    return config.model_copy(update={"signals": {**config.signals, **signals}})
