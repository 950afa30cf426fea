"""The results of an evaluation as tables.

The paper's tables of areas come first; what the paper does not have follows: intervals, gains, budgets and costs.
"""

from collections.abc import Iterator, Sequence

from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.evaluate.fronts import ParetoFront
from serve_app.evaluation.evaluate.operating.table import operating_table
from serve_app.evaluation.evaluate.paper_tables import paper_tables
from serve_app.evaluation.evaluate.remedies.table import remedies_table
from serve_app.evaluation.evaluate.results import (
    AcceptedResult,
    Budgets,
    CascadeResult,
    Curves,
    GroupResult,
    RowResult,
)
from serve_app.evaluation.evaluate.row import DEFERRAL_RATES, DEFERRED
from serve_app.evaluation.evaluate.skips import SkipResult
from serve_app.evaluation.evaluate.words import (
    ORACLE,
    UNIT_NAMES,
    cost,
    label,
    model_alone,
    number,
    oracle_of,
    p_value,
    percent,
    percentage,
    points,
    random_of,
    selection,
)
from serve_app.evaluation.evaluate.worth import WorthResult
from serve_app.terminal.table import Table

SHARES = (0.1, 0.2, 0.4, 0.6)
"""Of the target's cost: what they buy is in the table of budgets."""
NEAR = 0.05
"""A deferral rate that is further from the one in the header is shown with the number."""
UNUSUAL = (("semantic", "mean"), ("chow_ensemble", "max"))
"""Kinds of rows under the policy that is not the paper's own: only their areas are in tables."""


def tables(group: GroupResult, cascade: CascadeResult, *, brief: bool = False) -> Iterator[Table]:
    """Yield every table of one cascade on one group of examples; `brief`: for a terminal, in one unit."""
    yield _models(group, cascade)
    if cascade.remedies is not None:
        yield remedies_table(cascade.remedies)
    if cascade.worth:
        yield _worth(cascade.worth)
    if cascade.operating_points:
        yield operating_table(cascade.operating_points, brief)
    if cascade.skip is not None:
        yield _skip(cascade.skip, brief)
    if isinstance(cascade.detail, ParetoFront):
        yield _front(cascade.detail)
        return
    yield from paper_tables(cascade.detail, cascade.target)
    yield _areas(cascade.detail, cascade.target)
    yield from _comparisons(cascade.detail)
    yield _agreed_and_wrong(cascade.detail)
    yield _budgets(cascade.detail, brief)


def _models(group: GroupResult, cascade: CascadeResult) -> Table:
    """Return the paper's Table 6, with costs."""
    metrics = group.metrics
    rows = [
        (
            model + (" (target)" if model == cascade.target else ""),
            *(number(facts.quality[metric]) for metric in metrics),
            f"{facts.worse.estimate:.1%}" if facts.worse else "",
            *(cost(facts.cost[unit]) for unit in UNIT_NAMES),
            str(facts.failed),
        )
        for model, facts in cascade.models.items()
    ]
    header = ("model", *metrics, "below target", *UNIT_NAMES.values(), "failed")
    optional = [header.index(UNIT_NAMES["device_s"]), header.index(UNIT_NAMES["usd"]), len(header) - 1]
    return Table("Models alone", header, tuple(rows), optional=(*optional, *range(len(metrics), 1, -1)))


def _worth(results: Sequence[WorthResult]) -> Table:
    """Return what each worth of a correct answer pays for."""
    lines = [
        (
            f"{result.willingness_usd:g}",
            ", ".join(map(number, result.thresholds)),
            percent(result.deferred),
            f"{result.usd:.3g}",
            number(result.quality),
            f"{result.loss_usd:.3g}",
            f"{result.alone_loss_usd:.3g}",
        )
        for result in results
    ]
    header = (
        *("a correct answer's worth, $", "thresholds", "first tier defers", "cost, $", "quality"),
        *("cost and loss, $", "target alone's, $"),
    )
    note = (
        "By the config's signals. Thresholds of the least cost + worth x (1 - quality) on the fit examples; the rest "
    )
    note += "is of the test examples, means of a request."
    return Table("Willingness to pay", header, tuple(lines), note=note, words=frozenset())


def _areas(curves: Curves, target: str) -> Table:
    """Return every row with its intervals, best first, between the baselines."""
    base = curves.baselines
    empty = ("",) * 7
    lines: list[tuple[str, ...]] = [(ORACLE, base.oracle.text(), *empty, "the best member answer")]
    lines.append((model_alone(target), base.target.text(), *empty, target))
    lines += [(oracle_of(model), facts.oracle.text(), *empty, model) for model, facts in base.members.items()]
    for row in sorted(curves.rows, key=lambda row: -row.auc.estimate):
        lines.append(
            (
                label(row.name),
                row.auc.text(),
                row.over_random.signed_text(),
                row.by_selection.signed_text(),
                row.over_best_chow.signed_text() if row.over_best_chow else "",
                number(row.apgr),
                *(percent(rate) for rate in row.cpt.values()),
                number(row.partial_oracle.estimate) if row.partial_oracle else "",
                selection(row),
            )
        )
    lines += [(random_of(model), facts.random.text(), *empty, model) for model, facts in base.members.items()]
    lines += [(model_alone(model), facts.quality.text(), *empty, model) for model, facts in base.members.items()]
    best = curves.best_chow
    note = "over random: the same answers selected, deferred at random, so what deferral gains. by selection: what "
    note += f"returning the selected answer gains over the best member's ({base.best_member}, chosen on held-out "
    note += "examples). "
    if best:
        note += f"best Chow, chosen on held-out examples: {label(best)}. "
    note += "APGR: the share of the gap between the best member and the target that is recovered, averaged over all "
    note += (
        "deferral rates; CPT: the least deferral rate that recovers 50 or 80% of it. Intervals: 95%, paired bootstrap."
    )
    header = (
        *("scored by", "AUC", "over random", "by selection", "over best Chow"),
        *("APGR", "CPT 50%", "CPT 80%", "partial oracle", "selected"),
    )
    words, optional = frozenset({0, 9}), (9, 8, 4, 6, 5, 7)
    return Table("Areas under the deferral curve", header, tuple(lines), note=note, words=words, optional=optional)


def _comparisons(curves: Curves) -> Iterator[Table]:
    """Yield the table of the compared rows, if any."""
    if not curves.comparisons:
        return
    lines = [
        (
            comparison.row,
            comparison.less,
            comparison.difference.signed_text(),
            p_value(comparison.p),
            p_value(comparison.p_holm),
        )
        for comparison in curves.comparisons
    ]
    note = "Paired bootstrap, two-sided. Holm: adjusted for the number of comparisons in this table."
    yield Table(
        "Comparisons", ("row", "less", "difference", "p", "p (Holm)"), tuple(lines), note=note, words=frozenset({0, 1})
    )


def _usual(curves: Curves) -> list[RowResult]:
    """Return the rows under the paper's own policies, the best first."""
    rows = sorted(curves.rows, key=lambda row: -row.auc.estimate)
    left_out = (*UNUSUAL, ("fixed", "max"))
    return [row for row in rows if not row.name.maximum and (row.name.kind, row.name.agreement) not in left_out]


def _agreed_and_wrong(curves: Curves) -> Table:
    """Return how often accepted answers are below the target's quality, beside what independent members would give."""
    lines = []
    for row in _usual(curves):
        at = row.accepted[DEFERRED]
        independent = "" if row.if_independent is None else percent(row.if_independent)
        wrong = [_wrong(accepted, rate) for rate, accepted in row.accepted.items()]
        gain = at.gain.signed_text() if at.gain else ""
        lines.append((label(row.name), independent, *wrong, number(at.mean_loss), gain))
    columns = [f"wrong, deferring {rate:.0%}" for rate in DEFERRAL_RATES]
    figures = f"mean loss at {DEFERRED:.0%}", f"target's gain on the deferred {DEFERRED:.0%}"
    note = "wrong: accepted, but of lower quality than the target's answer, as a share of the accepted, with its exact "
    note += "95% interval. If independent: of answers that all members agree on, if their mistakes were independent. "
    note += "at: where the nearest threshold defers another share. gain: the target's quality less that of the answers "
    note += "it replaces, on what is deferred."
    header = ("scored by", "wrong if independent", *columns, *figures)
    return Table("Agreed and wrong", header, tuple(lines), note=note, optional=(2, 4, 5))


def _wrong(accepted: AcceptedResult, rate: float) -> str:
    """Return the share that is wrong, with the deferral rate if the nearest threshold is not near."""
    if accepted.worse is None:
        return "none accepted"
    return percentage(accepted.worse) + ("" if abs(accepted.rate - rate) < NEAR else f" at {accepted.rate:.0%}")


def _budgets(curves: Curves, brief: bool) -> Table:
    """Return quality at fixed shares of the target's cost, and the cheapest point within the margin."""
    units = list(dict.fromkeys(unit for row in curves.rows for unit in row.at))
    lines = [
        (label(row.name), UNIT_NAMES[unit], *_bought(row.at[unit]), *_cheap(row, unit))
        for row in _usual(curves)
        for unit in (units[:1] if brief else units)
        if unit in row.at
    ]
    header = ("scored by", "cost in", "floor", "at 10%", "at 20%", "at 40%", "at 60%", "cheapest within margin")
    note = "Shares are of the target's cost, scorer included. Empty: no threshold costs so little. The floor is what "
    note += "members and scorer cost every request. Cheapest: chosen on other examples; its interval is on these."
    return Table("Quality at fixed cost", header, tuple(lines), note=note, words=frozenset({0, 1}), optional=(3, 4))


def _bought(at: Budgets) -> list[str]:
    shares = [at.bought[share] for share in SHARES]
    return [f"{at.floor:.0%}", *(number(point.quality) if point else "" for point in shares)]


def _cheap(row: RowResult, unit: Unit) -> tuple[str]:
    cheapest = row.cheapest
    if cheapest is None or cheapest.unit != unit:
        return ("",)
    if cheapest.verdict == "target alone":
        return ("none: the target alone is cheaper",)
    figures = f"{cheapest.cost:.0%} at t = {number(cheapest.threshold)}: {cheapest.less_target.signed_text()}"
    return (f"{figures}; {cheapest.verdict}",)


def _skip(skip: SkipResult, brief: bool) -> Table:
    """Return what skipping the decision does, beside the cascade without it."""
    units = list(skip.rows[0].cost)[: 1 if brief else None]
    lines = []
    for k, row in enumerate(skip.rows):
        limits = (("deferred", row.defer_above), ("accepted", row.accept_above))
        limit_texts = [f"{name} {limit:g}" for name, limit in limits if limit is not None]
        setting = "without skip" if k == 0 else " or ".join(limit_texts) + (" (as configured)" if k == 1 else "")
        cost_cells = (
            cell for unit in units for cell in (percentage(row.cost[unit]), points(row.cost_less_without[unit]))
        )
        shares = (percent(row.deferred.estimate), percent(row.accepted.estimate))
        lines.append((setting, *shares, row.quality.text(), row.less_without.signed_text(), *cost_cells))
    costs = [name for unit in units for name in (f"cost ({UNIT_NAMES[unit]} / target's)", "less without")]
    header = (
        "straight to one model if at least",
        "to the target",
        f"to {skip.member}",
        "quality",
        "less without",
        *costs,
    )
    note = f"Of the {skip.k} nearest of {skip.past_requests} examples by {skip.encoder}, itself left out, under the "
    note += f"config's thresholds ({', '.join(map(number, skip.thresholds))}). Costs include the look-up. "
    note += "Pick a limit on other records than those that you report."
    return Table("Skip", header, tuple(lines), note=note, optional=(4,))


def _front(front: ParetoFront) -> Table:
    lines = [
        (
            point.signal or f"{point.alone} alone",
            ", ".join(map(number, point.thresholds)),
            f"{point.cost:.1%}",
            number(point.quality),
            "" if point.rate is None else percent(point.rate),
            percentage(point.worse),
        )
        for point in front.points
    ]
    header = (
        "signal",
        "thresholds",
        f"cost ({UNIT_NAMES[front.unit]} / target's)",
        "quality",
        "first tier defers",
        "agreed and wrong",
    )
    note = (
        "Chosen on other examples than these numbers are of. Agreed and wrong: accepted by a tier before the target, "
    )
    note += "but of lower quality than the target's answer, with the exact 95% interval of that share."
    return Table("Pareto front", header, tuple(lines), note=note)
