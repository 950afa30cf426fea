"""The commands over examples and records: `cascade collect`, `evaluate`, `calibrate`, `choose` and `fit-skip`."""

from math import inf
from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.arguments import ConfigPath
from serve_app.cli.errors_and_exit import echo_json, report_errors
from serve_app.errors import DataError
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.calibrate.goal import Goal, Loss
from serve_app.terminal.console import note_console, result_console

RecordsPath = Annotated[
    Path, typer.Argument(metavar="RECORDS", help="File that cascade collect wrote: .jsonl or .jsonl.gz.")
]
Members = Annotated[
    str | None, typer.Option(help="Members of a cascade that is not in the config, such as a,b,c; with --target.")
]
Target = Annotated[str | None, typer.Option(help="Model that --members defer to.")]
Signals = Annotated[
    str | None, typer.Option(help="Signals to evaluate, such as sbert,rougeL. Default: all that are available.")
]
Metrics = Annotated[
    str | None,
    typer.Option(
        "--metric",
        help="Quality metrics, the main one first, for all (f1,exact_match) or by task or data set "
        "(translation=bleurt,squad=accuracy). Default: each task's own.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=VALUE",
        help="Only examples with this task, source or metadata.NAME; several of one field are alternatives.",
    ),
]
CascadesOf = Annotated[
    Path | None, typer.Option("--config", help="Serving config whose cascades and prices replace those of the records.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the split of the examples and of the bootstrap.")]


@report_errors
def collect(
    config: ConfigPath,
    data: Annotated[
        list[str], typer.Argument(metavar="DATA...", help="JSON Lines files of examples, or hf-datasets:NAME.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="RECORDS", help="Records file; an existing one is resumed.")
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of examples from each of DATA.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of a random sample, in place of the first examples; with --limit.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Concurrent requests; models are queried one after another.")
    ] = 4,
    url: Annotated[
        str | None, typer.Option(help="URL of a running server, in place of engines in this process.")
    ] = None,
    retry_failures: Annotated[bool, typer.Option(help="New attempts for answers that failed.")] = False,
    prompts: Annotated[
        Path | None, typer.Option(help="Folder of prompts, TASK.txt, in place of the built-in ones.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Token limit of an answer, for every task.")] = None,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Seconds after which a request counts as failed.")] = 600,
) -> None:
    """Ask every model of the cascades every example once, and record the answers. Run again to resume."""
    from serve_app.evaluation.collect import collect as collecting

    options = collecting.Options(limit, seed, concurrency, url, retry_failures, prompts, max_tokens, timeout_s)
    collecting.collect(config, data, output, options, note_console())


@report_errors
def evaluate(
    records: RecordsPath,
    cascade: Annotated[str | None, typer.Option(help="Cascades to evaluate: a,b. Default: all.")] = None,
    members: Members = None,
    target: Target = None,
    signals: Signals = None,
    metric: Metrics = None,
    fixed: Annotated[
        str | None, typer.Option(help="Member whose answer is kept in fixed rows. Default: the first.")
    ] = None,
    config: CascadesOf = None,
    by: Annotated[
        str, typer.Option(metavar="FIELD", help="Field to group by: task, source (the data set) or metadata.NAME.")
    ] = "source",
    where: Where = None,
    margin: Annotated[float, typer.Option(min=0, max=0.99, help="Accepted loss of quality against the target.")] = 0.01,
    fit_share: Annotated[
        float,
        typer.Option(min=0.05, max=0.95, help="Share of the examples to choose and fit on; the rest is reported."),
    ] = 1 / 3,
    seed: Seed = 0,
    resamples: Annotated[int, typer.Option(min=100, help="Number of bootstrap resamples.")] = 1000,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROW",
            help="Row to compare by a paired test, named as in the table of areas; repeat: the first with each.",
        ),
    ] = None,
    remedies: Annotated[
        bool,
        typer.Option(
            "--remedies", help="Seconds, cost and waste of the cascades as configured, with each remedy off and on."
        ),
    ] = False,
    willingness_to_pay_usd: Annotated[
        list[float] | None,
        typer.Option(
            metavar="USD", help="Worth of a correct answer, to choose the config's thresholds by; several are compared."
        ),
    ] = None,
    per_example: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File for scores, qualities and costs of each example: .csv or .parquet."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder for the whole report: HTML, Markdown, CSV, JSON, PNG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
) -> None:
    """Report quality and cost of every signal and threshold on recorded answers; no model is called."""
    from serve_app.evaluation.analysis.load import load_dataset
    from serve_app.evaluation.analysis.options import Options
    from serve_app.evaluation.analysis.other_config import with_config
    from serve_app.evaluation.evaluate.evaluate import evaluate as evaluated
    from serve_app.evaluation.evaluate.evaluate import score
    from serve_app.evaluation.evaluate.report.per_example import check_path, write_per_example
    from serve_app.evaluation.evaluate.report.write import make_folder, write
    from serve_app.evaluation.evaluate.terminal import render
    from serve_app.evaluation.records.file import Records

    tiers = None if (names := _list(members)) is None else (names,)
    for name, given in (("--remedies", remedies), ("--willingness-to-pay-usd", willingness_to_pay_usd)):
        if given and tiers is not None:
            raise DataError(f"{name} goes with a cascade as configured: name it with --cascade.")
    for worth in willingness_to_pay_usd or ():
        if not 0 < worth < inf:
            raise DataError(f"--willingness-to-pay-usd: must be a number of US dollars above 0, got {worth:g}.")
    options = Options(
        cascades=_list(cascade),
        tiers=tiers,
        target=target,
        signals=_list(signals),
        metrics=_list(metric),
        fixed=fixed,
        margin=margin,
        fit=fit_share,
        seed=seed,
        resamples=resamples,
        by=by,
        where=tuple(where or ()),
    )
    loaded = Records.load(records) if config is None else with_config(Records.load(records), config)
    if report is not None:
        make_folder(report)
    if per_example is not None:
        check_path(per_example)
    with note_console().status("evaluating"):
        dataset = load_dataset(loaded, options)
        scored = score(dataset)
        evaluation = evaluated(
            dataset, scored, compare or (), remedies=remedies, willingness_usd=willingness_to_pay_usd or ()
        )
    if per_example is not None:
        write_per_example(scored, per_example)
        typer.echo(per_example, err=True)
    if report is not None:
        for path in write(evaluation, report):
            typer.echo(path, err=True)
    if as_json:
        echo_json(evaluation.to_json())
    else:
        render(evaluation, result_console())


@report_errors
def calibrate(
    records: RecordsPath,
    cascade: Annotated[str, typer.Option(help="Cascade to calibrate.")] = "default",
    deferral_rate: Annotated[
        list[float] | None,
        typer.Option(
            min=0,
            max=1,
            help="Goal: share of requests to defer. With several tiers once per tier: the share of all requests that "
            "is passed on beyond it.",
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
        bool, typer.Option("--label-free", help="Risk bound on disagreement with the target, without references.")
    ] = False,
    signal: Annotated[
        str | None, typer.Option(help="Signal in place of the cascade's; with several tiers one for each: a,b.")
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
            help="Records of their own to fit (--fit) and to report on, so that all of RECORDS calibrate.",
        ),
    ] = None,
    chosen: Annotated[
        bool,
        typer.Option(
            "--chosen", help="Exclusion of the part that cascade choose looked at, if it picked the cascade here."
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
    as_json: Annotated[bool, typer.Option("--json", help="The result as one JSON object.")] = False,
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
        metrics=_list(metric),
        seed=seed,
        tier_signals=_list(signal),
        stand_in=stand_in,
        where=tuple(where or ()),
    )
    loaded = Records.load(records)
    if config is not None and cascade not in loaded.config.cascades:
        loaded = with_cascade(loaded, config, cascade)
    done = calibrating.run(
        loaded,
        options,
        goal,
        fit=fit,
        config=config,
        output=output,
        chosen=chosen,
        fit_records=fit_records,
    )
    if as_json:
        echo_json(done.to_json())
    else:
        typer.echo("\n".join(done.sentences()))
    if done.calibrated.problem:
        typer.echo(f"cascade: {done.calibrated.problem}", err=True)
        raise typer.Exit(1)


@report_errors
def choose(
    records: RecordsPath,
    budget: Annotated[float | None, typer.Option(min=0, help="Maximum cost, as a share of the target's.")] = None,
    unit: Annotated[Unit | None, typer.Option(help="Cost unit for --budget.")] = None,
    members: Annotated[
        str | None, typer.Option(help="Members to choose from, such as a,b,c. Default: all but the target.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Model that a single tier defers to. Default: the first cascade's target, with that cascade's tiers."
        ),
    ] = None,
    signals: Signals = None,
    metric: Metrics = None,
    config: CascadesOf = None,
    where: Where = None,
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The result as one JSON object.")] = False,
) -> None:
    """Find the best members, signals and thresholds on a quarter of the records; report them on another."""
    from serve_app.evaluation.analysis.load import load_dataset
    from serve_app.evaluation.analysis.options import Options
    from serve_app.evaluation.analysis.other_config import with_config
    from serve_app.evaluation.choose import choose as choosing
    from serve_app.evaluation.choose import output
    from serve_app.evaluation.choose.progress import ChooseProgress
    from serve_app.evaluation.records.file import Records

    loaded = Records.load(records) if config is None else with_config(Records.load(records), config)
    tiers, target = choosing.tiers(loaded, _list(members), target)
    options = Options(
        tiers=tiers,
        target=target,
        signals=_list(signals),
        metrics=_list(metric),
        seed=seed,
        where=tuple(where or ()),
    )
    with note_console().status("comparing answers"):
        dataset = load_dataset(loaded, options)
    with ChooseProgress(note_console()) as progress:
        selection = choosing.find(dataset, budget, unit, progress)
    if as_json:
        echo_json(selection.to_json())
    else:
        output.render(selection, result_console())
    if budget is not None and selection.best is None:
        raise choosing.nothing_within(selection)


@report_errors
def fit_skip(
    records: RecordsPath,
    cascade: Annotated[str, typer.Option(help="Cascade with skip in its config.")] = "default",
    config: CascadesOf = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: the one that the config names."),
    ] = None,
) -> None:
    """Embed recorded prompts, and note how far the answers to them agreed: the past requests that skip looks up."""
    from serve_app.evaluation.analysis.other_config import with_config
    from serve_app.evaluation.fit_skip.command import run
    from serve_app.evaluation.records.file import Records

    loaded = Records.load(records) if config is None else with_config(Records.load(records), config)
    with note_console().status("embedding"):
        done = run(loaded, cascade, output)
    typer.echo("\n".join(done.sentences()))


def _list(names: str | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(name.strip() for name in names.split(",") if name.strip())
