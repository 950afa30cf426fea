"""Results in words and numbers, the same in every table, report and terminal."""

from collections.abc import Mapping
from math import isinf, isnan

from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.dataset import Source
from serve_app.evaluation.evaluate.results import CascadeResult, RowName, RowResult
from serve_app.evaluation.statistics.bootstrap import Interval

UNIT_NAMES: Mapping[Unit, str] = {
    "flops": "FLOPs",
    "usd": "US dollars",
    "device_s": "device-seconds",
    "latency_s": "latency",
}


ORACLE = "oracle"


def model_alone(model: str) -> str:
    """Return the name of the row of a model that answers alone."""
    return f"{model} alone (quality)"


def oracle_of(model: str) -> str:
    """Return the name of the row of the best deferral of a model's answers."""
    return f"oracle of {model}"


def random_of(model: str) -> str:
    """Return the name of the row of random deferral of a model's answers."""
    return f"random, {model} selected"


def label(name: RowName) -> str:
    """Return how a row's answers are scored, in words: the name of the row, unlike that of any other."""
    if name.kind == "chow_member":
        words = f"{name.signal} of {name.models[0]}"
    else:
        together = ", all members" if name.kind == "chow_ensemble" else ""
        words = f"{name.signal}{together} ({name.agreement})"
    fixed = f", {name.selection} selected" if name.kind == "fixed" else ""
    return words + fixed + (" [paper's maximum]" if name.maximum else "")


def selection(row: RowResult) -> str:
    """Return whose answers a row keeps, with each member's share if they are selected."""
    if row.name.kind == "chow_member":
        return row.name.models[0]
    if row.name.selection != "selected":
        return f"always {row.name.selection}"
    return ", ".join(f"{model} {share:.0%}" for model, share in row.shares.items())


def number(value: float) -> str:
    """Return four digits, nothing for NaN, and "inf" or "-inf"."""
    if isnan(value):
        return ""
    return str(value) if isinf(value) else f"{value:.4f}"


def cost(value: float | None) -> str:
    """Return three digits, or "unknown"."""
    return "unknown" if value is None else f"{value:.3g}"


def points(values: Interval) -> str:
    """Return a difference of shares in percentage points, with its interval."""
    return f"{100 * values.estimate:+.1f} [{100 * values.low:+.1f}, {100 * values.high:+.1f}]"


def percent(value: float) -> str:
    """Return a share in percent, nothing for NaN."""
    return "" if isnan(value) else f"{value:.1%}"


def p_value(value: float) -> str:
    """Return two significant digits."""
    return f"{value:.2g}"


def percentage(values: Interval | None) -> str:
    """Return a share with its interval in percent, nothing for None."""
    if values is None:
        return ""
    return f"{values.estimate:.1%} [{100 * values.low:.1f}, {100 * values.high:.1f}]"


def remarks(cascade: CascadeResult) -> list[str]:
    """Return sentences that a reader must not miss: flags of the cascade and of its rows, and what is missing."""
    curves = cascade.curves
    by_flag: dict[str, list[str]] = {}
    for row in curves.rows if curves else ():
        for flag in row.flags:
            by_flag.setdefault(flag, []).append(label(row.name))
    notes = curves.notes if curves else ()
    flags = (f"{flag} ({', '.join(dict.fromkeys(names))})" for flag, names in by_flag.items())
    return [*cascade.flags, *notes, *flags]


def signature(source: Source) -> str:
    """Return the signature of a whole evaluation; each row has one of its own."""
    where = f" where {' and '.join(source.where)}" if source.where else ""
    return (
        f"data {source.data_sha256[:12]}, models {source.models_sha256[:12]}, config {source.config_sha256[:12]}, "
        f"prompts {source.prompts_sha256[:12]}, {source.examples} examples{where}, seed {source.seed}, "
        f"{source.resamples} resamples, semantic-cascade {source.version}"
    )
