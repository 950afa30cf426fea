"""A calibration as a config file that `serve deploy` takes: in the router's `user_config`, with its origin."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from serve_app.config import AppConfig, TierConfig, VllmLoraModel, operational_options
from serve_app.config.serve_file import load, loads
from serve_app.core.sampling import base_name
from serve_app.core.types.policy import StandIn
from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.analysis.dataset import Source
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.calibrate.alternatives import SHED, STAND_IN
from serve_app.evaluation.calibrate.results import CalibrationResult
from serve_app.evaluation.records.example import canonical
from serve_app.files.whole_file import whole_file, write_protected
from serve_app.signals import AnySignalConfig, is_token_level

SIGNED = ("data_sha256", "models_sha256", "prompts_sha256", "seed", "version")
"""Fields of the source that a calibration in a config repeats."""
MEASURED = ("device_s", "latency_s")
"""Units of cost that the scorer's seconds count in."""
IMPORT_PATH = "serve_app.app:build_app"


def identity(
    calibrated: CalibrationResult, source: Source, alternatives: Mapping[str, CalibrationResult] | None = None
) -> str:
    """Return a calibration's id: the same records, goal and result have the same.

    Shares of cost that hold the scorer's seconds, which are measured anew each time, are no part of it.
    """
    alternative_contents = {name: _content(alternative) for name, alternative in (alternatives or {}).items()}
    content = {**_content(calibrated), "source": source.to_json(), **alternative_contents}
    return f"{calibrated.report.cascade}-{hashlib.sha256(canonical(content)).hexdigest()[:12]}"


def _content(calibrated: CalibrationResult) -> Body:
    report = calibrated.report.to_json()
    shares = {unit: share for unit, share in report["on_test"]["cost_share"].items() if unit not in MEASURED}
    return {**calibrated.to_json(), "report": {**report, "on_test": {**report["on_test"], "cost_share": shares}}}


def settings(
    calibrated: CalibrationResult, source: Source, alternatives: Mapping[str, CalibrationResult] | None = None
) -> Body:
    """Return the router's `user_config`."""
    alternatives = alternatives or {}
    id_ = calibrated.report.cascade
    report = calibrated.report.to_json()
    details = {key: value for key, value in report.items() if key not in ("cascade", "goal")}
    signed = {key: value for key, value in source.to_json().items() if key in SIGNED}
    note: Body = {
        "id": identity(calibrated, source, alternatives),
        "thresholds": list(calibrated.thresholds),
        "goal": calibrated.report.goal,
        "deferral_rate": report["on_test"]["deferral_rate"],
        "agreements": calibrated.agreements.to_json(),
        "report": details | signed,
    }
    if (stand_in := alternatives.get(STAND_IN)) is not None:
        note["report"][STAND_IN] = stand_in.to_json() | stand_in.report.to_json()
    if (shed := alternatives.get(SHED)) is not None:
        report_json = shed.report.to_json()
        note["shed"] = {
            "thresholds": list(shed.thresholds),
            "goal": shed.report.goal,
            "deferral_rate": report_json["on_test"]["deferral_rate"],
            "report": {key: value for key, value in report_json.items() if key not in ("cascade", "goal")},
        }
    if calibrated.exchange:
        note["exchange"] = [asdict(point) | {"thresholds": list(point.thresholds)} for point in calibrated.exchange]
    return {"thresholds": {id_: list(calibrated.thresholds)}, "calibrations": {id_: note}}


def check_writable(path: Path) -> None:
    """Raise DataError if no file can be written there, before anything is computed.

    An existing file must be writable itself, for a folder that is not may still have it written in place.
    """
    target = path if path.exists() else path.resolve().parent
    if path.is_dir():
        reason = "it is a folder"
    elif not path.parent.is_dir():
        reason = f"there is no folder {str(path.parent)!r}"
    elif write_protected(path):
        reason = "it is write-protected"
    elif not os.access(target, os.W_OK):
        reason = f"{str(target)!r} is not writable"
    else:
        return
    raise DataError(f"The config {str(path)!r} cannot be written: {reason}.")


def write(
    path: Path,
    user_config: Body,
    recorded: Body,
    *,
    tier_signals: Sequence[str | None],
    signals: dict[str, AnySignalConfig],
    config: Path | None,
    stand_in: StandIn | None = None,
) -> None:
    """Write the file: `config` with the calibration in it, or the application as it was when records were collected.

    `recorded` are the `args` in the records. The signal of each tier but the target (`tier_signals`) and the fitted
    `signals` go into `args`, as does the `stand_in` of the only such tier. Raises ConfigError if the config's cascade
    is not the one that was calibrated, DataError if `path` cannot be written.
    """
    values = _values(recorded, config)
    application = values["applications"][0]
    [id_] = user_config["thresholds"]
    served = AppConfig.model_validate(application["args"])
    calibrated = AppConfig.model_validate(recorded)
    check_same(served, calibrated, id_, config)
    standing_in = None if stand_in is None else stand_in.signal
    for tier_signal, tier in zip(tier_signals, calibrated.cascades[id_].tiers, strict=False):
        for name in (tier_signal, standing_in):
            _check_signal(served, calibrated, name, tier.models, signals, config)
    new_signals = {name: _beside(served.signals.get(name), fitted) for name, fitted in signals.items()}
    _check_unused(served, new_signals, id_, config)
    _put_signals(application["args"], id_, new_signals, tier_signals, stand_in)
    _put_user_config(application, user_config)
    text = _dumped(values)
    loads(text, path)
    _replace(path, text)


def _put_signals(
    args: Body,
    id_: str,
    fitted: Mapping[str, AnySignalConfig],
    tier_signals: Sequence[str | None],
    stand_in: StandIn | None,
) -> None:
    """Put the fitted signals into the `args`, and the names of those that decide into the cascade's tiers."""
    for name, signal in fitted.items():
        values = signal.model_dump(mode="json", exclude_defaults=True) | {"kind": signal.kind}
        args.setdefault("signals", {})[name] = values
    for tier, tier_signal in zip(args["cascades"][id_]["tiers"], tier_signals, strict=False):
        tier["signal"] = tier_signal
        if stand_in is not None:
            tier["on_scorer_failure"] = asdict(stand_in)


def _put_user_config(application: Body, user_config: Body) -> None:
    """Put the calibration beside those of other cascades in the router's entry."""
    entries = application.setdefault("deployments", [])
    router = next((entry for entry in entries if entry["name"] == "Router"), None)
    if router is None:
        entries.append(router := {"name": "Router"})
    in_force = router.get("user_config") or {}
    router["user_config"] = {key: {**in_force.get(key, {}), **value} for key, value in user_config.items()}


def _replace(path: Path, text: str) -> None:
    try:
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"The config {str(path)!r} cannot be written: {error.strerror}.") from None


class _Dumper(yaml.SafeDumper):
    """Writes a list of numbers in one line."""


def _list_node(dumper: _Dumper, values: list[Any]) -> yaml.Node:
    numbers = all(isinstance(value, int | float) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=numbers)


_Dumper.add_representer(list, _list_node)


def _dumped(values: Body) -> str:
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def served_config(recorded: Body, config: Path | None) -> AppConfig:
    """Return what would be served: the config's application, or that of the records."""
    return AppConfig.model_validate(_values(recorded, config)["applications"][0]["args"])


def _values(recorded: Body, config: Path | None) -> dict[str, Any]:
    if config is None:
        args = deepcopy(recorded)
        application = {"name": "cascade", "route_prefix": "/", "import_path": IMPORT_PATH, "args": args}
        return {"applications": [application]}
    return load(config).raw()


def check_same(served: AppConfig, calibrated: AppConfig, id_: str, config: Path | None) -> None:
    """Raise ConfigError unless the cascade to serve has the calibrated one's models, scored in the same way."""
    if id_ not in served.cascades:
        raise ConfigError(f"{config}: there is no cascade {id_!r}.")
    tiers = served.cascades[id_].tiers
    if list(map(_calibrated_part, tiers)) != list(map(_calibrated_part, calibrated.cascades[id_].tiers)):
        raise ConfigError(
            f"{config}: the cascade {id_!r} is not the one in the records, so the threshold would not fit."
        )
    requested = list(dict.fromkeys(base_name(model) for tier in tiers for model in tier.models))
    bases = [model.base for name in requested if isinstance(model := served.models[name], VllmLoraModel)]
    for name in [*requested, *bases]:  # an adapter's answers come from its base's engine
        if option := _differing(served.models[name], calibrated.models[name]):
            raise ConfigError(f"{config}: models.{name}.{option} is not that of the records, so answers may differ.")


def _calibrated_part(tier: TierConfig) -> TierConfig:
    """Return the tier without what calibration sets, or what decides and returns the same: `early` but `decision`."""
    early = "decision" if tier.early == "decision" else "off"
    return tier.model_copy(update={"signal": None, "threshold": None, "early": early, "on_scorer_failure": None})


def _check_signal(
    served: AppConfig,
    calibrated: AppConfig,
    signal: str | None,
    models: Sequence[str],
    fitted: Mapping[str, AnySignalConfig],
    config: Path | None,
) -> None:
    """Raise ConfigError unless a signal of a tier and its parts mean the same; fitted ones are written instead."""
    signals, meant = served.all_signals(), calibrated.all_signals()
    for name in sorted((meant.uses(signal) if signal else set()) & signals.keys() - fitted.keys()):
        if option := _differing(_about(signals[name], models), _about(meant[name], models)):
            raise ConfigError(
                f"{config}: signals.{name}.{option} is not that of the records, so the threshold would not fit."
            )


def _differing(config: BaseModel, reference: BaseModel) -> str | None:
    """Return the first option that differs from `reference` and can change an answer or a score, or None."""
    operational = operational_options(type(config)) | operational_options(type(reference))
    values, reference_values = config.model_dump(exclude=operational), reference.model_dump(exclude=operational)
    if values.get("sha256") and values["sha256"] == reference_values.get("sha256"):
        reference_values["weights"] = values["weights"]  # the same file from another source
    return next(
        (option for option in values | reference_values if values.get(option) != reference_values.get(option)), None
    )


def _about(signal: AnySignalConfig, models: Sequence[str]) -> AnySignalConfig:
    """Return the signal with the z-scores of these models only; other models are not scored here."""
    if is_token_level(signal):
        zscores = {name: zscore for name, zscore in signal.zscores.items() if name in models}
        return signal.model_copy(update={"zscores": zscores})
    return signal


def _beside(served: AnySignalConfig | None, fitted: AnySignalConfig) -> AnySignalConfig:
    """Return the fitted signal, with the z-scores that other cascades' models have under its name."""
    if served is not None and is_token_level(served) and is_token_level(fitted):
        return fitted.model_copy(update={"zscores": {**served.zscores, **fitted.zscores}})
    return fitted


def _check_unused(served: AppConfig, fitted: dict[str, AnySignalConfig], id_: str, config: Path | None) -> None:
    """Raise ConfigError if a fitted signal changes for another cascade, whose threshold was for the old one."""
    signals = served.all_signals()
    for other_id, cascade in served.cascades.items():
        for tier in cascade.tiers if other_id != id_ else ():
            for name in (signals.uses(tier.signal) if tier.signal else set()) & fitted.keys():
                if _differing(_about(signals[name], tier.models), _about(fitted[name], tier.models)):
                    raise ConfigError(
                        f"{config}: the cascade {other_id!r} uses the signal {name!r}, too, and its threshold would no "
                        f"longer fit: give {id_!r} a signal of its own."
                    )
