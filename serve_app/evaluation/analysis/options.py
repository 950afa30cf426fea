"""What to evaluate: a user's options, and the config with only the cascades that they name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serve_app.config import AppConfig, CascadeConfig, TierConfig, ViewConfig
from serve_app.config.cascades.samples import members_as_written
from serve_app.config.cascades.tier import StandInConfig
from serve_app.errors import DataError, UsageError, choices
from serve_app.evaluation.records.file import Records


@dataclass(frozen=True, slots=True)
class Options:
    """What to evaluate. None means the config's cascades, every available signal, each task's own metrics."""

    cascades: tuple[str, ...] | None = None
    tiers: tuple[tuple[str, ...], ...] | None = None
    """The members of each tier before `target`, for a cascade that is not in the config."""
    target: str | None = None
    signals: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    fixed: str | None = None
    """The member whose answer is returned in the rows of kind "fixed"; None means the first of a tier."""
    margin: float = 0.01
    """Quality that may be lost against the target, 0..1."""
    fit: float = 1 / 3
    """The share of examples, by a seeded hash of their ids, that z-scores and choices come from."""
    seed: int = 0
    resamples: int = 1000
    processes: int | None = None
    tier_signals: tuple[str, ...] | None = None
    """Signals in place of those of every cascade: one for each tier but the target."""
    stand_in: str | None = None
    """The lexical signal that decides if the scorer fails, in place of the config's; the cascades have one tier."""
    by: str = "source"
    """The field of the examples by whose values they are grouped: `task`, `source` (the data set), `metadata.NAME`."""
    where: tuple[str, ...] = ()
    """Conditions that the examples meet, `FIELD=VALUE` each (see `example_fields.matching`)."""
    references_required: bool = True
    """Whether examples without references are an error. If not, answers to them have no quality."""


def requested_config(records: Records, options: Options) -> AppConfig:
    """Return the records' config with only the cascades to evaluate.

    Raises UsageError if a cascade, model or signal is unknown, DataError if no cascade decides anything.
    """
    config = records.config
    if options.tiers is not None or options.target is not None:
        if options.cascades is not None:
            raise UsageError("--cascade names one of the config's, --members and --target define a new one: not both.")
        return config.model_copy(update={"cascades": _ad_hoc(records, options)})
    requested = options.cascades or tuple(id_ for id_, cascade in config.cascades.items() if len(cascade.tiers) > 1)
    if unknown := next((id_ for id_ in requested if id_ not in config.cascades), None):
        raise UsageError(f"The records have no cascade {unknown!r}. {choices(unknown, config.cascades)}")
    if not requested:
        raise DataError("No cascade in the records has more than one tier, so there is nothing to decide.")
    cascades = {id_: config.cascades[id_] for id_ in requested}
    config = _with_tier_signals(config.model_copy(update={"cascades": cascades}), options.tier_signals)
    return config if options.stand_in is None else _with_stand_in(config, options.stand_in)


def models_of(config: AppConfig) -> tuple[str, ...]:
    """Return the models of all cascades, each once, in the order of the tiers."""
    tiers = (tier for cascade in config.cascades.values() for tier in cascade.tiers)
    return tuple(dict.fromkeys(model for tier in tiers for model in tier.models))


def member_tiers(config: AppConfig) -> list[TierConfig]:
    """Return the tiers of all cascades but their targets."""
    return [tier for cascade in config.cascades.values() for tier in cascade.tiers[:-1]]


def _with_tier_signals(config: AppConfig, signals: Sequence[str] | None) -> AppConfig:
    """Return the config with other signals in its cascades' tiers, if any are requested."""
    if signals is None:
        return config
    if unknown := next((signal for signal in signals if signal not in config.all_signals()), None):
        raise UsageError(f"There is no signal {unknown!r}. {choices(unknown, config.all_signals())}")
    cascades = {id_: _scored_by(id_, cascade, signals) for id_, cascade in config.cascades.items()}
    return config.model_copy(update={"cascades": cascades})


def _scored_by(id_: str, cascade: CascadeConfig, signals: Sequence[str]) -> CascadeConfig:
    *members, target = cascade.tiers
    if len(signals) != len(members):
        requirement = f"one for each tier but the target, {len(members)} in all"
        raise UsageError(f"--signal: {id_!r} needs {requirement}; got {', '.join(signals)}.")
    tiers = [tier.model_copy(update={"signal": name}) for tier, name in zip(members, signals, strict=True)]
    return cascade.model_copy(update={"tiers": [*tiers, target]})


def _with_stand_in(config: AppConfig, signal: str) -> AppConfig:
    """Return the config with a signal that decides if the scorer fails; its threshold is to be found."""
    if signal not in (lexical := config.lexical()):
        raise UsageError(f"--stand-in: {signal!r} is not a signal that the router computes. {choices(signal, lexical)}")
    cascades = {}
    for id_, cascade in config.cascades.items():
        first, *later_tiers = cascade.tiers
        if len(later_tiers) != 1 or first.signal is None or config.all_signals()[first.signal].token_level:
            raise UsageError(
                f"--stand-in: {id_!r} needs one tier before the target, with a signal that compares texts."
            )
        stand_in = StandInConfig(signal=signal, threshold=0)
        cascades[id_] = cascade.model_copy(
            update={"tiers": [first.model_copy(update={"on_scorer_failure": stand_in}), *later_tiers]}
        )
    return config.model_copy(update={"cascades": cascades})


def _ad_hoc(records: Records, options: Options) -> dict[str, CascadeConfig]:
    """Return a cascade of the requested members and target, by an id that names them."""
    if options.tiers is None or options.target is None:
        raise UsageError("A cascade needs both its members and a target: --members a,b --target c.")
    members = [model for tier in options.tiers for model in tier]
    if not all(options.tiers) or not members:
        raise UsageError("A cascade needs a member beside its target; the records, or --members, name none.")
    for model in (*members, options.target):
        if model not in records.models:
            raise UsageError(f"The records have no model {model!r}. {choices(model, records.models)}")
    if options.target in members or any(len(set(tier)) < len(tier) for tier in options.tiers):
        raise UsageError("A tier asks a model once: name it only once among --members and --target.")
    # Signal and threshold are not read: every signal is evaluated under every threshold.
    config = records.config
    tiers = [
        TierConfig(models=_members_of(config, tier), signal="rougeL", threshold=0.5, compare=_view_of(config, tier))
        for tier in options.tiers
    ]
    name = "->".join(["+".join(tier) for tier in options.tiers] + [options.target])
    return {name: CascadeConfig(tiers=[*tiers, TierConfig(models=[options.target])])}


def _members_of(config: AppConfig, names: Sequence[str]) -> list[Any]:
    """Return a tier's members as the config draws them if they are its first samples, else their names."""
    members = members_as_written(names, config.samples())
    return members if TierConfig(models=members).models == list(names) else list(names)


def _view_of(config: AppConfig, members: Sequence[str]) -> ViewConfig | None:
    """Return the view that the config's tiers with any of these members share, or None if they have none.

    Raises UsageError if their views differ, so that it is not clear which one is meant.
    """
    views = [tier.compare for tier in member_tiers(config) if set(members) & set(tier.models)]
    if any(view != views[0] for view in views):
        raise UsageError(
            f"The tiers with {', '.join(members)} compare different views of answers; write the cascade that is meant "
            "into a config, and name it with --config and --cascade."
        )
    return views[0] if views else None
