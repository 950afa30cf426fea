"""`cascade evaluate`: quality and cost of every signal and threshold."""

from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.errors_and_exit import echo_json, report_errors
from serve_app.cli.evaluation.arguments import (
    CascadesOf,
    Members,
    Metrics,
    RecordsPath,
    Seed,
    Signals,
    Target,
    Where,
    listed,
)
from serve_app.errors import UsageError
from serve_app.terminal.console import note_console, result_console

CascadeNames = Annotated[str | None, typer.Option(help="Cascades to evaluate: a,b. Default: all.")]
Fixed = Annotated[
    str | None,
    typer.Option(help="Member that is always selected in the rows with a fixed answer. Default: the first."),
]
By = Annotated[
    str, typer.Option(metavar="FIELD", help="Field to group by: task, source (the data set) or metadata.NAME.")
]
Margin = Annotated[float, typer.Option(min=0, max=0.99, help="Accepted loss of quality against the target.")]
FitShare = Annotated[
    float,
    typer.Option(min=0.05, max=0.95, help="Share of the examples to choose and fit on; the rest is reported."),
]
Resamples = Annotated[int, typer.Option(min=100, help="Number of bootstrap resamples.")]
Compare = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ROW",
        help="Row to compare by a paired test, named as in the table of areas; repeat: the first with each.",
    ),
]
Remedies = Annotated[
    bool,
    typer.Option(
        "--remedies",
        help="Show latency, cost and waste with each remedy off and on: options that make a cascade faster or "
        "cheaper under the same thresholds (early, speculate, quorum, tier_timeout_s, carried answers).",
    ),
]
WorthsUsd = Annotated[
    list[float] | None,
    typer.Option(
        metavar="USD", help="Worth of a correct answer, to choose the config's thresholds by; several are compared."
    ),
]
PerExample = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File for scores, qualities and costs of each example: .csv or .parquet."),
]
Report = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Folder for the whole report: HTML, Markdown, CSV, JSON, PNG.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")]


@report_errors
def evaluate(
    records: RecordsPath,
    cascade: CascadeNames = None,
    members: Members = None,
    target: Target = None,
    signals: Signals = None,
    metric: Metrics = None,
    fixed: Fixed = None,
    config: CascadesOf = None,
    by: By = "source",
    where: Where = None,
    margin: Margin = 0.01,
    fit_share: FitShare = 1 / 3,
    seed: Seed = 0,
    resamples: Resamples = 1000,
    compare: Compare = None,
    remedies: Remedies = False,
    willingness_to_pay_usd: WorthsUsd = None,
    per_example: PerExample = None,
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Report quality and cost of every signal and threshold on recorded answers; no model is called."""
    from serve_app.evaluation.analysis.load import load_dataset
    from serve_app.evaluation.analysis.options import Options
    from serve_app.evaluation.analysis.other_config import load_records
    from serve_app.evaluation.evaluate.evaluate import evaluate as evaluated
    from serve_app.evaluation.evaluate.evaluate import score
    from serve_app.evaluation.evaluate.report.per_example import check_path, write_per_example
    from serve_app.evaluation.evaluate.report.write import make_folder, write
    from serve_app.evaluation.evaluate.terminal import render

    tiers = None if (names := listed(members)) is None else (names,)
    _check_as_configured(tiers, remedies, willingness_to_pay_usd)
    options = Options(
        cascades=listed(cascade),
        tiers=tiers,
        target=target,
        signals=listed(signals),
        metrics=listed(metric),
        fixed=fixed,
        margin=margin,
        fit=fit_share,
        seed=seed,
        resamples=resamples,
        by=by,
        where=tuple(where or ()),
    )
    loaded_records = load_records(records, config)
    if report is not None:
        make_folder(report)
    if per_example is not None:
        check_path(per_example)
    with note_console().status("evaluating"):
        dataset = load_dataset(loaded_records, options)
        scores = score(dataset)
        evaluation = evaluated(
            dataset, scores, compare or (), remedies=remedies, willingness_usd=willingness_to_pay_usd or ()
        )
    if per_example is not None:
        write_per_example(scores, per_example)
        typer.echo(per_example, err=True)
    if report is not None:
        for path in write(evaluation, report):
            typer.echo(path, err=True)
    if as_json:
        echo_json(evaluation.to_json())
    else:
        render(evaluation, result_console())


def _check_as_configured(tiers: object, remedies: bool, worths_usd: list[float] | None) -> None:
    """Refuse options about a cascade as configured for one that is not, and a worth that is no amount."""
    for name, value in (("--remedies", remedies), ("--willingness-to-pay-usd", worths_usd)):
        if value and tiers is not None:
            raise UsageError(f"{name} goes with a cascade as configured: name it with --cascade.")
    for worth in worths_usd or ():
        if worth <= 0:
            raise UsageError(f"--willingness-to-pay-usd: must be a number of US dollars above 0, got {worth:g}.")
