"""Compare ladders with cascades of two tiers over recorded answers, on many splits of the examples into halves.

Both come from the search of `cascade choose` on one half, and are reported on the other. The best cascade of two tiers
is the cheapest whose quality, where it was chosen, is the target's less `MARGIN`; the ladder is the cheapest whose
quality there is at least that cascade's, or the best if none is as good.

One split shows little: of so many candidates the best on one half owes much to luck. The splits of all seeds share
their examples, so the spread over them shows how far the choice depends on the split, and is not a confidence interval.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
from cells import number, percent, short

from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.dataset import Dataset, hashed_share
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.other_config import with_config
from serve_app.evaluation.choose.choose import candidates, combinations
from serve_app.evaluation.choose.tiers import Specs, TierBuilder
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.curves import ROUNDING
from serve_app.evaluation.statistics.search import Choice, choose

SIGNALS = ("exact", "bleu", "rouge1", "rouge2", "rougeL", "chrf")
MARGIN = 0.01
SPLITS = 20


@dataclass(frozen=True)
class Chosen:
    """A cascade, and what it does on the other half; `cost` is a share of the target's there."""

    tiers: Specs
    cost: float
    quality: float


@dataclass(frozen=True)
class Split:
    """What was chosen on one half of the examples; all figures are of the other one."""

    examples: int
    target_quality: float
    two_tiers: Chosen
    ladder: Chosen

    @property
    def is_cheaper(self) -> bool:
        """Return whether the ladder costs less."""
        return self.ladder.cost < self.two_tiers.cost * (1 - ROUNDING)

    def is_within(self, cascade: Chosen) -> bool:
        """Return whether a cascade's quality is the target's less the margin."""
        return cascade.quality >= self.target_quality - MARGIN - ROUNDING


@dataclass(frozen=True)
class Comparison:
    """The best cascades of two tiers and the ladders before one target, on each split."""

    target: str
    unit: Unit
    splits: tuple[Split, ...]


def section(records: Path, config: Path, members: Sequence[str], targets: Sequence[str]) -> Iterator[str]:
    """Yield the lines on a study's ladders: of a config with a cascade of all members for each target."""
    compared = list(comparisons(with_config(Records.load(records), config)))
    assert [row.target for row in compared] == targets
    sizes = sorted({split.examples for row in compared for split in row.splits})
    yield f"Ladders of {len(members)} members up to 10B, and the best cascades of two tiers: chosen on one half,"
    yield f"reported on the other ({sizes[0]} to {sizes[-1]} examples), in {SPLITS} splits:"
    yield ""
    yield from table(compared)
    yield ""


def table(compared: Iterable[Comparison]) -> Iterator[str]:
    """Yield a row for each target: means over the splits, and the differences with their range over the splits."""
    columns = (
        "target | its quality | two tiers: cost | quality | within a point | ladder: cost | quality | within a point"
    )
    yield f"| {columns} | ladder is cheaper | ladder less two tiers: cost | quality | ladder chosen most often |"
    yield "| --- " * 12 + "|"
    for row in compared:
        cells = [
            short(row.target) + (" ($)" if row.unit == "usd" else ""),
            number(fmean(split.target_quality for split in row.splits)),
            *_cells(row, lambda split: split.two_tiers),
            *_cells(row, lambda split: split.ladder),
            _share([split.is_cheaper for split in row.splits]),
            _spread([split.ladder.cost - split.two_tiers.cost for split in row.splits]),
            _spread([split.ladder.quality - split.two_tiers.quality for split in row.splits]),
            _most_often([split.ladder.tiers for split in row.splits]),
        ]
        yield f"| {' | '.join(cells)} |"


def _cells(row: Comparison, chosen: Callable[[Split], Chosen]) -> tuple[str, str, str]:
    """Return a cascade's mean cost and quality, and in how many splits it is within a point of the target."""
    cascades = list(map(chosen, row.splits))
    within = [split.is_within(cascade) for split, cascade in zip(row.splits, cascades, strict=True)]
    mean = fmean(cascade.quality for cascade in cascades)
    return f"{100 * fmean(cascade.cost for cascade in cascades):.1f}%", number(mean), _share(within)


def _share(values: Sequence[bool]) -> str:
    return percent(fmean(values))


def _spread(values: Sequence[float]) -> str:
    """Return a mean with its lowest and highest value."""
    mean, low, high = (
        f"{round(value, 3) + 0.0:+.3f}".replace("0.", ".", 1) for value in (fmean(values), min(values), max(values))
    )
    return f"{mean} ({low} to {high})"


def _most_often(ladders: Sequence[Specs]) -> str:
    """Return the members of the most frequent ladder, whatever its signal, and the share of splits that have it."""
    [(tiers, count)] = Counter(tuple(tier.members for tier in ladder) for ladder in ladders).most_common(1)
    return f"{' → '.join(' + '.join(map(short, members)) for members in tiers)}: {percent(count / len(ladders))}"


def comparisons(records: Records, splits: int = SPLITS) -> Iterator[Comparison]:
    """Yield a comparison for each cascade of the records' config, with splits by the seeds from 0."""
    dataset = load_dataset(records, Options(signals=SIGNALS))
    for id_ in dataset.config.cascades:
        yield compare(dataset, id_, splits)


def compare(dataset: Dataset, id_: str, splits: int) -> Comparison:
    """Compare ladders of a cascade's members with cascades of two tiers of them. Answers have no log-probabilities."""
    group = dataset.groups[-1]
    whole = CascadeView(dataset, group, id_, group.index, group.index)
    unit = whole.unit([])
    builder = TierBuilder(whole, {}, unit)  # shared, so that each tier is scored once
    parts = [_halves(dataset, seed) for seed in range(splits)]
    views = [CascadeView(part, group, id_, *part.parts(group.index, 0.5)) for part in parts]
    return Comparison(whole.target, unit, tuple(_split(view, builder, unit) for view in views))


def _halves(dataset: Dataset, seed: int) -> Dataset:
    """Return the data set as it is cut into parts under another seed."""
    return replace(dataset, shares=np.array([hashed_share(example.id, seed) for example in dataset.examples]))


def _split(view: CascadeView, builder: TierBuilder, unit: Unit) -> Split:
    tried, _ = combinations(view, {}, unit)
    flat, rising = (
        choose(
            candidates(builder, [tiers for tiers in tried if (len(tiers) > 1) == several]), [], (view.fit, view.test)
        )
        for several in (False, True)
    )
    quality, cost = view.quality(view.target), view.target_cost[unit]
    two_tiers = _cheapest(flat, float(quality[view.fit].mean()) - MARGIN)
    ladder = _cheapest(rising, two_tiers.chosen.quality)
    two, more = (
        Chosen(choice.cascade, choice.held_out.cost / float(cost[view.test].mean()), choice.held_out.quality)
        for choice in (two_tiers, ladder)
    )
    return Split(len(view.test), float(quality[view.test].mean()), two, more)


def _cheapest(front: Sequence[Choice[Specs]], floor: float) -> Choice[Specs]:
    """Return the cheapest cascade whose quality, when chosen, was at least `floor`; the best if none was."""
    return next((choice for choice in front if choice.chosen.quality >= floor * (1 - ROUNDING)), front[-1])
