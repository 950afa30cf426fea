"""The tiers that a request gets: those of its cascade, with its own threshold, signal and view."""

from collections.abc import Sequence
from dataclasses import replace

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.config import AppConfig
from serve_app.core.deciding.exchange import ExchangePoint, paid_for
from serve_app.core.types.policy import Tier
from serve_app.deployments.policies import Policies
from serve_app.errors import RequestError, choices, quoted


def overridden(config: AppConfig, policies: Policies, model: str, options: CascadeOptions) -> tuple[Tier, ...]:
    """Return the tiers in force for a model, with what the request replaces.

    Raises `RequestError` if the request does not fit the cascade or the calibration in force.
    """
    tiers = policies.tiers[model]
    members = tiers[:-1]
    overrides = options.model_fields_set - {
        *("include_answers", "session", "cache", "events", "skip", "shed", "max_latency_s")
    }
    if overrides and not members:
        field = f"cascade.{min(overrides)}"
        raise RequestError(f"{field}: {model!r} is a single model; there is nothing to decide.", field)
    if options.willingness_to_pay_usd is not None:
        tiers = _paid_for(tiers, options.willingness_to_pay_usd, options, policies.exchange.get(model, ()))
    else:
        tiers = _viewed(_rescored(config, model, tiers, options), options)
    if has_own_policy(options):  # which the threshold of a stand-in is not about
        tiers = tuple(replace(tier, stand_in=None) for tier in tiers)
    return _waiting(tiers, options)


def has_own_policy(options: CascadeOptions) -> bool:
    """Return whether the request is decided by thresholds, a signal or a view of its own."""
    overrides = (options.threshold, options.willingness_to_pay_usd, options.signal, options.compare)
    return any(value is not None for value in overrides)


def _paid_for(
    tiers: tuple[Tier, ...], willingness_usd: float, options: CascadeOptions, exchange: Sequence[ExchangePoint]
) -> tuple[Tier, ...]:
    """Return the tiers with the thresholds that this worth of a correct answer pays for."""
    field = "cascade.willingness_to_pay_usd"
    for name in ("threshold", "signal", "compare"):
        if getattr(options, name) is not None:
            raise RequestError(f"{field}: chooses among calibrated thresholds; leave out cascade.{name}.", field)
    if not exchange:
        message = "no calibration in force says what quality costs; cascade calibrate does, on records with references "
        raise RequestError(f"{field}: {message}and models with prices in US dollars.", field)
    *members, target = tiers
    thresholds = paid_for(exchange, willingness_usd).thresholds
    new_members = [replace(tier, threshold=threshold) for tier, threshold in zip(members, thresholds, strict=True)]
    return (*new_members, target)


def _waiting(tiers: tuple[Tier, ...], options: CascadeOptions) -> tuple[Tier, ...]:
    """Return the tiers; they wait for all answers if the request wants to see all."""
    if not options.include_answers:
        return tiers
    return tuple(replace(tier, early="off") if tier.may_settle_early else tier for tier in tiers)


def _rescored(config: AppConfig, model: str, tiers: tuple[Tier, ...], options: CascadeOptions) -> tuple[Tier, ...]:
    if options.threshold is None and options.signal is None:
        return tiers
    members = tiers[:-1]
    row = [tier.threshold for tier in members]
    if options.threshold is not None:
        row = options.threshold if isinstance(options.threshold, list) else [options.threshold] * len(members)
    if len(row) != len(members):
        several = "" if len(members) == 1 else f", or {len(members)} (one for each tier but the last)"
        raise RequestError(f"cascade.threshold: needs one number{several}.", "cascade.threshold")
    if options.signal is not None:
        _check_selectable(config, options.signal, members)
    return config.tiers(model, row, options.signal)


def _viewed(tiers: tuple[Tier, ...], options: CascadeOptions) -> tuple[Tier, ...]:
    if options.compare is None:
        return tiers
    *members, target = tiers
    if all(tier.token_level for tier in members):
        raise RequestError("cascade.compare: no tier compares its answers.", "cascade.compare")
    view = options.compare.view()
    return (*(tier if tier.token_level else replace(tier, compare=view) for tier in members), target)


def _check_selectable(config: AppConfig, signal: str, members: Sequence[Tier]) -> None:
    selectable = config.selectable()
    if signal not in selectable:
        message = f"cascade.signal: no signal {quoted(signal)}. {choices(signal, selectable)}"
        raise RequestError(message, "cascade.signal")
    if all(len(tier.models) == 1 for tier in members):
        message = f"cascade.signal: {signal!r} compares answers, and no tier has several to compare."
        raise RequestError(message, "cascade.signal")
