"""`cascade calibrate`: the thresholds for a goal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.errors_and_exit import echo_json, report_errors
from serve_app.cli.evaluation.arguments import Force, Metrics, RecordsPath, Seed, Where, listed
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.calibrate.goal import Goal, Loss
from serve_app.files.output import check_output

if TYPE_CHECKING:
    from serve_app.evaluation.calibrate.command import CalibrationRun
    from serve_app.evaluation.records.file import Records

Cascade = Annotated[str, typer.Option(help="Cascade to calibrate.")]
DeferralRates = Annotated[
    list[float] | None,
    typer.Option(
        min=0,
        max=1,
        help="Goal: share of requests to defer. May be repeated, once for each tier but the last: the share of all "
        "requests that is passed on beyond it.",
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Goal: maximum cost, as a share of the target's. A single tier then defers as much as it can; several "
        "reach the best quality, or without references defer equal shares of what each could keep.",
    ),
]
BudgetUnit = Annotated[
    Unit, typer.Option(help="Cost unit for --budget; with several tiers also the cost that --quality minimises.")
]
Quality = Annotated[float | None, typer.Option(min=0, max=1, help="Goal: minimum mean quality.")]
Risk = Annotated[float | None, typer.Option(help="Goal: maximum expected loss, with probability 1 - delta.")]
Delta = Annotated[
    float | None,
    typer.Option(
        help="Accepted probability that the goal is missed on other data: of --risk (0.1 by default), and of "
        "--quality, which is not tested without it."
    ),
]
LossOfRisk = Annotated[
    Loss,
    typer.Option(
        help="Loss that --risk bounds: positive is max(0, Q_target - Q_cascade); signed is Q_target - Q_cascade, "
        "which is weaker, since gains make up for losses."
    ),
]
LabelFree = Annotated[
    bool, typer.Option("--label-free", help="Bound the disagreement with the target instead: no references.")
]
TierSignals = Annotated[
    str | None, typer.Option(help="Signal in place of the cascade's; with several tiers one for each: a,b.")
]
Shed = Annotated[
    list[float] | None,
    typer.Option(
        help="Value of the same goal while shedding load: a higher --risk, or a lower quality, budget or deferral "
        "rate. May be repeated, once for each tier's deferral rate.",
    ),
]
StandIn = Annotated[
    str | None,
    typer.Option(
        metavar="SIGNAL",
        help="Lexical signal to decide by while the scorer fails (on_scorer_failure); its threshold is for the "
        "same goal.",
    ),
]
Fit = Annotated[bool, typer.Option("--fit", help="Fit z-scores, or a blend's weights, on the records.")]
FitRecords = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Second records file to fit and report on; then all of RECORDS calibrate."),
]
Chosen = Annotated[
    bool,
    typer.Option(
        "--chosen", help="Leave out the quarter that cascade choose used, if it picked the cascade on these records."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        help="Serving config to add the calibration to, and to take the cascade from if the records have none of "
        "that name."
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="CONFIG", help="File to write, for serve deploy, without the comments of --config."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


@report_errors
def calibrate(
    records: RecordsPath,
    cascade: Cascade = "default",
    deferral_rate: DeferralRates = None,
    budget: Budget = None,
    unit: BudgetUnit = "flops",
    quality: Quality = None,
    risk: Risk = None,
    delta: Delta = None,
    loss: LossOfRisk = "positive",
    label_free: LabelFree = False,
    signal: TierSignals = None,
    shed: Shed = None,
    stand_in: StandIn = None,
    fit: Fit = False,
    fit_records: FitRecords = None,
    chosen: Chosen = False,
    metric: Metrics = None,
    where: Where = None,
    seed: Seed = 0,
    config: Config = None,
    output: Output = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Find the thresholds for a goal on some of the records, and report what they do on others."""
    from serve_app.evaluation.analysis.options import Options
    from serve_app.evaluation.calibrate import command as calibrating

    if output is not None:
        check_output(output, force=force, inputs=(records, fit_records))
    goal = Goal(tuple(deferral_rate or ()) or None, budget, unit, quality, risk, delta, label_free, loss)
    options = Options(
        cascades=(cascade,),
        signals=(),
        metrics=listed(metric),
        seed=seed,
        tier_signals=listed(signal),
        stand_in=stand_in,
        where=tuple(where or ()),
    )
    result = calibrating.run(
        _load(records, config, cascade),
        options,
        goal,
        fit=fit,
        config=config,
        output=output,
        chosen=chosen,
        fit_records=fit_records,
        shed=tuple(shed or ()),
    )
    _show(result, as_json=as_json)
    if result.calibrated.problem:
        raise typer.Exit(1)


def _load(path: Path, config: Path | None, cascade: str) -> "Records":
    """Return the records, with the config's cascade if they have none of that name."""
    from serve_app.evaluation.analysis.other_config import with_cascade
    from serve_app.evaluation.records.file import Records

    records = Records.load(path)
    if config is None or cascade in records.config.cascades:
        return records
    return with_cascade(records, config, cascade)


def _show(run: "CalibrationRun", *, as_json: bool) -> None:
    if run.calibrated.problem:
        typer.echo(f"cascade: {run.calibrated.problem}", err=True)
    if as_json:
        echo_json(run.to_json())
    else:
        typer.echo("\n".join(run.sentences()))
