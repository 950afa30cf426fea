"""One run of `cascade fit-skip`: from records to a file of past requests, and sentences about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.past.requests import past_requests, with_verdict
from serve_app.evaluation.records.file import Records


@dataclass(frozen=True, slots=True)
class SkipFit:
    """Result of a run: the file that was written, its size, and what it says of its own requests by the others."""

    cascade: str
    output: Path
    requests: int
    bytes: int
    deferred: float
    skipped_deferred: float
    skipped_accepted: float

    def sentences(self) -> Iterator[str]:
        """Yield lines for the terminal."""
        yield f"{self.output}: {self.requests} past requests of {self.cascade}, {self.bytes / 1e3:,.0f} kB, no text."
        yield f"Under the config's thresholds {self.deferred:.1%} of them are deferred to the target."
        yield (
            f"Each by the others, {self.skipped_deferred:.1%} would go straight to the target and "
            f"{self.skipped_accepted:.1%} straight to one member."
        )
        yield "cascade evaluate, with the same config, says what that does to quality and cost."


def run(records: Records, cascade: str, output: Path | None) -> SkipFit:
    """Fit the past requests of a cascade and write them, by default to the file that its config names.

    Raises ConfigError if the cascade has no `skip` or the file cannot be written, DataError for too few requests,
    SignalError and WeightsError if its encoder or a signal cannot be used.
    """
    skip = records.config.cascades[cascade].skip if cascade in records.config.cascades else None
    if cascade in records.config.cascades and skip is None:
        raise ConfigError(f"cascades.{cascade}.skip: not set; the config must say how requests are looked up.")
    options = Options(cascades=(cascade,), signals=(), references_required=False)
    dataset = load_dataset(records, options)
    assert skip is not None
    past = past_requests(dataset, cascade)
    if len(past.index) <= skip.k:
        raise DataError(f"{len(past.index)} past requests are too few: k is {skip.k}.")
    path = output or Path(skip.fitted)
    past.fitted.write(path)
    thresholds = dataset.config.thresholds()[cascade]
    policy = dataset.config.cascades[cascade].skip_policy()
    assert policy is not None
    prechecks = past.prechecks(policy, thresholds)
    return SkipFit(
        cascade=cascade,
        output=path,
        requests=len(past.index),
        bytes=path.stat().st_size,
        deferred=fmean(past.lookup.flags(thresholds)),
        skipped_deferred=float(with_verdict(prechecks, "deferred")[past.index].mean()),
        skipped_accepted=float(with_verdict(prechecks, "accepted")[past.index].mean()),
    )
