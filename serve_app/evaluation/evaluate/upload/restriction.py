"""The part of untrusted records that is evaluated: what needs no encoder, no other process and no file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serve_app.config import AppConfig, CascadeConfig
from serve_app.errors import DataError
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.similarities import LEXICAL, plain_signals
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.search import MOST_TIERS

COMMAND = "`cascade evaluate` with the file does"
WITH_ENCODERS = (
    "To see them too, run `cascade evaluate records.jsonl --report report` with your file, and open report/report.json "
    "here."
)
MOST_REQUESTS = 5_000
"""About 60 s of processor time with three members whose answers have 100 words, 25 s with two of three words."""
MOST_DRAWN = 3_000_000
"""Requests that are drawn for the intervals of all cascades: 15 s of processor time with two members."""
RESAMPLES = Options().resamples
FEWEST_RESAMPLES = 200
DRAWS_ALL = "`cascade evaluate` with the file draws all"
STAND_IN = {"signal": "rougeL", "threshold": 0.5}
"""In place of a tier's signal that needs an encoder; every signal is evaluated under every threshold in any case."""


@dataclass(frozen=True, slots=True)
class Restricted:
    """Records whose cascades can be evaluated by `options`, and sentences about what was left out."""

    records: Records
    options: Options
    notes: list[str]


def restricted(records: Records) -> Restricted:
    """Return the records with the cascades of at most `MOST_TIERS` before the target, and options without encoders.

    Raises DataError if there is no such cascade, or there are more than MOST_REQUESTS requests.
    """
    requests = len(records.examples)
    if requests > MOST_REQUESTS:
        bound = f"and at most {MOST_REQUESTS:,} are evaluated here"
        raise DataError(f"These records have {requests:,} requests, {bound}; {COMMAND} more.")
    config = records.config
    cascades = {id_: cascade for id_, cascade in config.cascades.items() if len(cascade.tiers) <= MOST_TIERS + 1}
    if not cascades:
        raise DataError(f"Every cascade of these records has more than {MOST_TIERS + 1} tiers; {COMMAND} more.")
    notes = []
    if longer := [id_ for id_ in config.cascades if id_ not in cascades]:
        notes.append(f"Of more than {MOST_TIERS + 1} tiers, so not evaluated here: {', '.join(longer)}; {COMMAND}.")
    tier_signals = [tier.signal for cascade in cascades.values() for tier in cascade.tiers if tier.signal]
    signals = list(dict.fromkeys([*LEXICAL, *tier_signals, *config.signals]))
    heavy = [name for name in signals if _needs_encoder(config, name)]
    if heavy:
        notes.append(f"Not evaluated here, where no encoder can be loaded: {', '.join(heavy)}. {WITH_ENCODERS}")
    args = dict(records.header.config.args)
    args["cascades"] = {id_: _plain(cascade, heavy) for id_, cascade in cascades.items()}
    header = replace(records.header, config=replace(records.header.config, args=args))
    light = tuple(name for name in signals if name not in heavy)
    resamples = max(FEWEST_RESAMPLES, min(RESAMPLES, MOST_DRAWN // (max(1, requests) * len(cascades))))
    if resamples < RESAMPLES:
        notes.append(f"Intervals are of {resamples:,} resamples in place of {RESAMPLES:,}; {DRAWS_ALL}.")
    options = Options(signals=light, resamples=resamples, processes=1)
    return Restricted(Records(header, records.examples, records.answers), options, notes)


def _needs_encoder(config: AppConfig, name: str) -> bool:
    return any(signal.needs_weights for signal in plain_signals(config, [name]).values())


def _plain(cascade: CascadeConfig, heavy: Sequence[str]) -> dict[str, object]:
    tiers = [tier.model_copy(update=STAND_IN) if tier.signal in heavy else tier for tier in cascade.tiers]
    update = {"tiers": tiers, "skip": None}
    return cascade.model_copy(update=update).model_dump(mode="json", exclude_unset=True)
