"""Compare ladders with cascades of two tiers over recorded answers: chosen on one half of them, reported on the other.

Both come from the search of `cascade choose`. On one half the best cascade of two tiers is the cheapest whose quality
is the target's less `MARGIN`, and the ladder is the cheapest whose quality is at least that cascade's there.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from cells import number, short, signed

from serve_app.evaluation.analysis.cascade_view import CascadeView, models_alone
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.other_config import with_config
from serve_app.evaluation.choose.choose import candidates, combinations
from serve_app.evaluation.choose.tiers import Specs, TierBuilder, chows_of
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.bootstrap import Interval, bootstrap, mean_of
from serve_app.evaluation.statistics.search import Alone, Choice, choose

SIGNALS = ("exact", "bleu", "rouge1", "rouge2", "rougeL", "chrf")
MARGIN = 0.01
RESAMPLES = 1000


@dataclass(frozen=True)
class Chosen:
    """A cascade, and what it does on the other half; `cost` is a share of the target's."""

    tiers: Specs
    cost: float
    quality: float


@dataclass(frozen=True)
class Comparison:
    """The best cascade of two tiers and the ladder, with the ladder's differences to it, paired on the other half."""

    target: str
    unit: Unit
    examples: int
    target_quality: float
    two_tiers: Chosen
    ladder: Chosen
    cost: Interval
    quality: Interval


def section(records: Path, config: Path, members: Sequence[str], targets: Sequence[str]) -> Iterator[str]:
    """Yield the lines on a study's ladders: of a config with a cascade of all members for each target."""
    compared = list(comparisons(records, config))
    count, examples = len(members), compared[0].examples
    yield f"Ladders of {count} members up to 10B, and the best cascades of two tiers, chosen on one half; on the other,"
    yield f"{examples} examples:"
    yield ""
    yield from table(compared)
    yield ""
    available = {row.target for row in compared}
    if missing := [short(target) for target in targets if target not in available]:
        yield f"No cascade of two tiers came within a point of {', '.join(missing)} on the first half."
        yield ""


def table(compared: Iterable[Comparison]) -> Iterator[str]:
    """Yield a row for each target: the best cascade of two tiers, the ladder, and the differences between them."""
    columns = "target | its quality | two tiers: members, signal | cost | quality | ladder | cost | quality"
    yield f"| {columns} | ladder less two tiers: cost | quality |"
    yield "| --- " * 10 + "|"
    for row in compared:
        cells = [
            short(row.target) + (" ($)" if row.unit == "usd" else ""),
            number(row.target_quality),
            *_cells(row.two_tiers),
            *_cells(row.ladder),
            signed(astuple(row.cost)[:3]),
            signed(astuple(row.quality)[:3]),
        ]
        yield f"| {' | '.join(cells)} |"


def _cells(cascade: Chosen) -> tuple[str, str, str]:
    """Return a cascade's tiers and signal, its cost and its quality."""
    tiers = " → ".join(" + ".join(map(short, tier.members)) for tier in cascade.tiers)
    return f"{tiers}, `{cascade.tiers[-1].signal}`", f"{100 * cascade.cost:.1f}%", number(cascade.quality)


def comparisons(path: Path, config: Path) -> Iterator[Comparison]:
    """Yield a comparison for each cascade of a config over a records file, if any is within the margin."""
    records = with_config(Records.load(path), config)
    for id_ in records.config.cascades:
        if (compared := compare(records, id_)) is not None:
            yield compared


def compare(records: Records, id_: str) -> Comparison | None:
    """Compare ladders of a cascade's members with all other cascades of them; None if none is within the margin."""
    dataset = load_dataset(records, Options(cascades=(id_,), signals=SIGNALS))
    group = dataset.groups[-1]
    fit, test = dataset.parts(group.index, 0.5)
    view = CascadeView(dataset, group, id_, fit, test)
    unit = view.unit([])
    chows = chows_of(view)
    builder = TierBuilder(view, chows, unit)
    tried, _ = combinations(view, chows, unit)
    alone = models_alone(view, unit)
    target = alone[Alone(view.target)]
    flat: list[Choice[Specs | Alone]] = choose(
        candidates(builder, [tiers for tiers in tried if len(tiers) == 1]), alone.items(), (fit, test)
    )
    rising = choose(candidates(builder, [tiers for tiers in tried if len(tiers) > 1]), [], (fit, test))
    two_tiers = _cheapest(flat, float(target.quality[fit].mean()) - MARGIN)
    ladder = None if two_tiers is None else _cheapest(rising, two_tiers.chosen.quality)
    if two_tiers is None or ladder is None:
        return None
    alone_cost = float(target.cost[test].mean())
    means = {
        (name, what): mean_of(values)
        for name, choice in (("two", two_tiers), ("ladder", ladder))
        for what, values in (("cost", choice.outcome.cost / alone_cost), ("quality", choice.outcome.quality))
    }
    resampled = bootstrap(means, len(test), resamples=RESAMPLES, seed=0)
    return Comparison(
        target=view.target,
        unit=unit,
        examples=len(test),
        target_quality=float(target.quality[test].mean()),
        two_tiers=_chosen(two_tiers, alone_cost),
        ladder=_chosen(ladder, alone_cost),
        cost=resampled.difference(("ladder", "cost"), ("two", "cost")),
        quality=resampled.difference(("ladder", "quality"), ("two", "quality")),
    )


def _cheapest(choices: Sequence[Choice[Specs | Alone]], floor: float) -> Choice[Specs | Alone] | None:
    """Return the cheapest cascade whose quality, when chosen, was at least `floor`."""
    return next((it for it in choices if not isinstance(it.cascade, Alone) and it.chosen.quality >= floor), None)


def _chosen(choice: Choice[Specs | Alone], target_cost: float) -> Chosen:
    assert not isinstance(choice.cascade, Alone)
    return Chosen(choice.cascade, choice.held_out.cost / target_cost, choice.held_out.quality)
