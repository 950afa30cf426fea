"""A run's log -> its figures: latency, first token, time per token, deferral, cost, failures."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from serve_app.core.percentiles import nearest_rank

from .log import Result, Run

PERCENTS = (50, 90, 95, 99)
LATE_S = 0.1
"""From here on the load generator itself is too slow for its trace."""


@dataclass(frozen=True)
class Figure:
    """One quantity over requests, in seconds."""

    name: str
    values: tuple[float, ...]

    def row(self) -> list[str]:
        """Return name, count, mean, percentiles and maximum."""
        shown = [
            sum(self.values) / len(self.values),
            *(nearest_rank(self.values, p) for p in PERCENTS),
            max(self.values),
        ]
        return [self.name, str(len(self.values)), *(f"{value:.3f}" for value in shown)]


@dataclass(frozen=True)
class Summary:
    """The figures of a run, None where nothing was measured. Latencies are of requests that succeeded."""

    requests: int
    failures: dict[str, int]  # by kind
    duration_s: float
    figures: tuple[Figure, ...]
    p95_latency_s: float | None
    p95_ttft_s: float | None
    deferral_rate: float | None  # of the requests to cascades that were answered
    cost_ratio: float | None  # what was spent on answers / what the target alone would have spent on them
    cost_unit: str | None
    late_p99_s: float | None

    @property
    def error_rate(self) -> float | None:
        """Return the share of the requests that failed."""
        return sum(self.failures.values()) / self.requests if self.requests else None

    @property
    def throughput_rps(self) -> float | None:
        """Return the requests answered in a second of the run."""
        answered = self.requests - sum(self.failures.values())
        return answered / self.duration_s if self.duration_s > 0 else None


def summarize(run: Run) -> Summary:
    """Compute the figures of a log."""
    answered = [result for result in run.results if result.failure is None]
    decided = [result.deferred for result in answered if result.deferred is not None]
    ratio, unit = cost_ratio(answered)
    late = [result.late_s for result in run.results if result.late_s is not None]
    return Summary(
        requests=len(run.results),
        failures=dict(Counter(result.failure for result in run.results if result.failure).most_common()),
        duration_s=run.duration_s,
        figures=tuple(figure for figure in _figures(answered) if figure.values),
        p95_latency_s=nearest_rank([result.latency_s for result in answered], 95),
        p95_ttft_s=nearest_rank([r.first_token_s for r in answered if r.first_token_s is not None], 95),
        deferral_rate=sum(decided) / len(decided) if decided else None,
        cost_ratio=ratio,
        cost_unit=unit,
        late_p99_s=nearest_rank(late, 99),
    )


def cost_ratio(results: Iterable[Result]) -> tuple[float | None, str | None]:
    """Return the cost of requests to cascades over that of the target alone, in FLOPs if known or USD; and the unit."""
    results = [result for result in results if result.deferred is not None]
    flops = [(r.flops, r.target_flops) for r in results if r.flops is not None and r.target_flops]
    usd = [(r.usd, r.target_usd) for r in results if r.usd is not None and r.target_usd]
    for unit, pairs in (("FLOPs", flops), ("USD", usd)):
        if pairs:
            return sum(spent for spent, _ in pairs) / sum(alone for _, alone in pairs), unit
    return None, None


def _figures(answered: list[Result]) -> list[Figure]:
    models = sorted({result.model for result in answered})
    figures = []
    for name, value in _QUANTITIES:
        figures.append(_figure(name, answered, value))
        if len(models) > 1:
            figures += [_figure(f"  {model}", [r for r in answered if r.model == model], value) for model in models]
        figures.append(_figure("  accepted", [r for r in answered if r.deferred is False], value))
        figures.append(_figure("  deferred", [r for r in answered if r.deferred is True], value))
    return figures


def _figure(name: str, results: list[Result], value: Callable[[Result], float | None]) -> Figure:
    return Figure(name, tuple(v for v in map(value, results) if v is not None))


_QUANTITIES: tuple[tuple[str, Callable[[Result], float | None]], ...] = (
    ("latency, s", lambda result: result.latency_s),
    ("first token, s", lambda result: result.first_token_s),
    ("per token, s", lambda result: result.token_s),
)


HEADER = ["", "requests", "mean", *(f"p{percent}" for percent in PERCENTS), "max"]


def text(summary: Summary) -> str:
    """Return the summary for a terminal."""
    rows = [HEADER, *(figure.row() for figure in summary.figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return "\n".join([*lines, "", *sentences(summary)])


def markdown(summary: Summary) -> str:
    """Return the summary as Markdown."""
    rows = [HEADER, ["---"] + ["---:"] * (len(HEADER) - 1), *(figure.row() for figure in summary.figures)]
    table = ["| " + " | ".join(cell.replace("  ", "- ") for cell in row) + " |" for row in rows]
    return "\n".join([*table, "", *(f"- {sentence}" for sentence in sentences(summary))])


def sentences(summary: Summary) -> list[str]:
    """Return a line for each figure that is not a distribution."""
    failed = sum(summary.failures.values())
    kinds = ": " + ", ".join(f"{kind} ({count})" for kind, count in summary.failures.items()) if failed else ""
    lines = [
        f"requests   {summary.requests} in {summary.duration_s:.1f} s, {summary.throughput_rps or 0:.2f}/s answered",
        f"failed     {failed} ({summary.error_rate or 0:.1%}){kinds}",
    ]
    if summary.deferral_rate is not None:
        lines.append(f"deferred   {summary.deferral_rate:.1%}")
    if summary.cost_ratio is not None:
        lines.append(f"cost       {summary.cost_ratio:.0%} of the target alone ({summary.cost_unit})")
    if summary.late_p99_s is not None:
        slow = ": the load generator is too slow for this trace" if summary.late_p99_s > LATE_S else ""
        lines.append(f"sent late  p99 {summary.late_p99_s:.3f} s{slow}")
    return lines


def progress(recent: Iterable[Result], period_s: float) -> str:
    """Return a line about the requests that ended in the last `period_s` seconds."""
    recent = list(recent)
    answered = [result for result in recent if result.failure is None]
    decided = [result.deferred for result in answered if result.deferred is not None]
    p95 = nearest_rank([result.latency_s for result in answered], 95)
    return "   ".join(
        [
            f"{len(answered) / period_s:.1f}/s",
            "p95 -" if p95 is None else f"p95 {p95:.2f} s",
            f"deferred {sum(decided) / len(decided):.0%}" if decided else "deferred -",
            f"failed {len(recent) - len(answered)}",
        ]
    )
