"""The sentences of `cascade check` about a valid config."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serve_app.config.app import AppConfig
from serve_app.config.cascades.remedies import ShedConfig
from serve_app.config.serve_file import ServeFile
from serve_app.core.types.policy import Tier
from serve_app.errors import counted
from serve_app.weights import unpinned


@dataclass(frozen=True)
class Report:
    """Lines about a valid config, and what its user should know nonetheless."""

    lines: list[str]
    warnings: list[str]


def report(name: str, file: ServeFile) -> Report:
    """Return the report of a file; `name` is its name in messages."""
    args = file.application.args
    lines = []
    for id_, row in file.thresholds().items():
        tiers = " -> ".join(" + ".join(tier.models) for tier in args.cascades[id_].tiers)
        thresholds = f" (thresholds: {', '.join(map(str, row))})" if row else ""
        lines.append(f"{id_}: {tiers}{thresholds}")
    lines.append(f"{name} is valid: {counted(len(args.models), 'model')}, {counted(len(args.cascades), 'cascade')}.")
    warnings = []
    if problem := file.lets_everybody_in:
        warnings.append(f"warning: {problem} Until then it refuses what comes from other machines.")
    if names := unpinned_warning(args):
        warnings.append(names)
    warnings += [
        f"cascades.{id_}.shed: there are no lower thresholds, so nothing is shed: cascade calibrate --shed finds some."
        for id_, cascade in file.args_in_force().cascades.items()
        if cascade.shed is not None and cascade.shed.by == "thresholds" and cascade.shed.thresholds is None
    ]
    for id_, row in file.thresholds().items():
        warnings += _unreachable(id_, args.tiers(id_, row))
    for id_ in file.calibrated_for_pressure():
        if sentence := unused_thresholds(id_, args.cascades[id_].shed):
            warnings.append(sentence)
    return Report(lines, warnings)


def _unreachable(id_: str, tiers: Sequence[Tier]) -> Iterator[str]:
    """Yield a sentence for each tier whose threshold no agreement reaches."""
    for number, tier in enumerate(tiers[:-1], start=1):
        if tier.signal_range is not None and tier.threshold > tier.signal_range.high:
            yield (
                f"cascades.{id_}: the threshold {tier.threshold:g} of tier {number} is above "
                f"{tier.signal_range.high:g}, the most that {tier.signal} can be: every request is deferred, and pays "
                "for the tier in vain."
            )


def unused_thresholds(id_: str, shed: ShedConfig | None) -> str | None:
    """Return a sentence if a cascade has no use for calibrated thresholds under pressure, or None."""
    if shed is None:
        return (
            f"cascades.{id_}.shed: the cascade does not shed, so its calibration's thresholds under pressure have no "
            "effect: write shed: {} to use them."
        )
    if shed.by == "members":
        return (
            f"cascades.{id_}.shed.by: members accepts any answer, so its calibration's thresholds under pressure have "
            "no effect: write by: thresholds to use them."
        )
    return None


def unpinned_warning(args: AppConfig) -> str | None:
    """Return a sentence that names models and signals whose owner can change what will be fetched, or None."""
    names = [name for name, weights, sha256 in args.weights() if unpinned(weights, sha256)]
    if not names:
        return None
    return (
        f"Not pinned, so the hub decides what is fetched: {', '.join(names)}. "
        "`cascade pull --pins` prints what to write in the config."
    )
