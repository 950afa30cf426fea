"""`cascade calibrate`: the thresholds for a goal."""

from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.errors_and_exit import echo_json, report_errors
from serve_app.cli.evaluation.arguments import (
    Metrics,
    RecordsPath,
    Seed,
    Where,
    listed,
)
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.calibrate.goal import Goal, Loss


@report_errors
def calibrate(
    records: RecordsPath,
    cascade: Annotated[str, typer.Option(help="Cascade to calibrate.")] = "default",
    deferral_rate: Annotated[
        list[float] | None,
        typer.Option(
            min=0,
            max=1,
            help="Goal: share of requests to defer. May be repeated, once for each tier but the last: the share of all "
            "requests that is passed on beyond it.",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Goal: maximum cost, as a share of the target's. A single tier then defers as much as it can; several "
            "reach the best quality, or without references defer equal shares of what each could keep.",
        ),
    ] = None,
    unit: Annotated[
        Unit, typer.Option(help="Cost unit for --budget; with several tiers also the cost that --quality minimises.")
    ] = "flops",
    quality: Annotated[float | None, typer.Option(min=0, max=1, help="Goal: minimum mean quality.")] = None,
    risk: Annotated[float | None, typer.Option(help="Goal: maximum expected loss, with probability 1 - delta.")] = None,
    delta: Annotated[
        float | None,
        typer.Option(
            help="Accepted probability that the goal is missed on other data: of --risk (0.1 by default), and of "
            "--quality, which is not tested without it."
        ),
    ] = None,
    loss: Annotated[
        Loss,
        typer.Option(
            help="Loss that --risk bounds: positive is max(0, Q_target - Q_cascade); signed is Q_target - Q_cascade, "
            "which is weaker, since gains make up for losses."
        ),
    ] = "positive",
    label_free: Annotated[
        bool, typer.Option("--label-free", help="Bound the disagreement with the target instead: no references.")
    ] = False,
    signal: Annotated[
        str | None, typer.Option(help="Signal in place of the cascade's; with several tiers one for each: a,b.")
    ] = None,
    shed: Annotated[
        list[float] | None,
        typer.Option(
            help="Value of the same goal while shedding load: a higher --risk, or a lower quality, budget or deferral "
            "rate. May be repeated, once for each tier's deferral rate.",
        ),
    ] = None,
    stand_in: Annotated[
        str | None,
        typer.Option(
            metavar="SIGNAL",
            help="Lexical signal to decide by while the scorer fails (on_scorer_failure); its threshold is for the "
            "same goal.",
        ),
    ] = None,
    fit: Annotated[bool, typer.Option("--fit", help="Fit z-scores, or a blend's weights, on the records.")] = False,
    fit_records: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Second records file to fit and report on; then all of RECORDS calibrate.",
        ),
    ] = None,
    chosen: Annotated[
        bool,
        typer.Option(
            "--chosen",
            help="Leave out the quarter that cascade choose used, if it picked the cascade on these records.",
        ),
    ] = False,
    metric: Metrics = None,
    where: Where = None,
    seed: Seed = 0,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Serving config to add the calibration to, and to take the cascade from if the records have none of "
            "that name."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="CONFIG", help="File to write, for serve deploy.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Find the thresholds for a goal on some of the records, and report what they do on others."""
    from serve_app.evaluation.analysis.options import Options
    from serve_app.evaluation.analysis.other_config import with_cascade
    from serve_app.evaluation.calibrate import command as calibrating
    from serve_app.evaluation.records.file import Records

    goal = Goal(tuple(deferral_rate) if deferral_rate else None, budget, unit, quality, risk, delta, label_free, loss)
    options = Options(
        cascades=(cascade,),
        signals=(),
        metrics=listed(metric),
        seed=seed,
        tier_signals=listed(signal),
        stand_in=stand_in,
        where=tuple(where or ()),
    )
    loaded_records = Records.load(records)
    if config is not None and cascade not in loaded_records.config.cascades:
        loaded_records = with_cascade(loaded_records, config, cascade)
    result = calibrating.run(
        loaded_records,
        options,
        goal,
        fit=fit,
        config=config,
        output=output,
        chosen=chosen,
        fit_records=fit_records,
        shed=tuple(shed or ()),
    )
    if result.calibrated.problem:
        typer.echo(f"cascade: {result.calibrated.problem}", err=True)
    if as_json:
        echo_json(result.to_json())
    else:
        typer.echo("\n".join(result.sentences()))
    if result.calibrated.problem:
        raise typer.Exit(1)
