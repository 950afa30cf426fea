"""`cascade choose`: the best members, signals and thresholds."""

from typing import Annotated

import typer

from serve_app.cli.errors_and_exit import echo_json, report_errors
from serve_app.cli.evaluation.arguments import CascadesOf, Metrics, RecordsPath, Seed, Signals, Where, listed
from serve_app.evaluation.analysis.costs import Unit
from serve_app.terminal.console import note_console, result_console


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
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Find the best members, signals and thresholds on a quarter of the records; report them on another."""
    from serve_app.evaluation.analysis.load import load_dataset
    from serve_app.evaluation.analysis.options import Options
    from serve_app.evaluation.analysis.other_config import load_records
    from serve_app.evaluation.choose import choose as choosing
    from serve_app.evaluation.choose import output
    from serve_app.evaluation.choose.progress import ChooseProgress

    loaded_records = load_records(records, config)
    tiers, target = choosing.tiers(loaded_records, listed(members), target)
    options = Options(
        tiers=tiers,
        target=target,
        signals=listed(signals),
        metrics=listed(metric),
        seed=seed,
        where=tuple(where or ()),
    )
    with note_console().status("comparing answers"):
        dataset = load_dataset(loaded_records, options)
    with ChooseProgress(note_console()) as progress:
        selection = choosing.find(dataset, budget, unit, progress)
    if as_json:
        echo_json(selection.to_json())
    else:
        output.render(selection, result_console())
    if budget is not None and selection.best is None:
        raise choosing.nothing_within(selection)
