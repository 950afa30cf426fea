"""`cascade plan`: what a config requires of a cluster, and how many replicas a load needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.arguments import ConfigPath
from serve_app.cli.errors_and_exit import echo_json, report_errors
from serve_app.errors import ConfigError, ServerError
from serve_app.terminal.console import result_console

if TYPE_CHECKING:
    from serve_app.config import AppConfig
    from serve_app.config.serve_file import ServeFile

WITH_RPS = ("cascade", "deferral_rate", "prompt_tokens", "completion_tokens", "speed")
"""Options of `plan` that have no effect without --rps."""


@report_errors
def plan(
    context: typer.Context,
    config: ConfigPath,
    node: Annotated[
        list[str] | None, typer.Option(help="Resources of a node, '{CPU: 32, GPU: 8}', or of several, '{...} x 4'.")
    ] = None,
    nodes: Annotated[Path | None, typer.Option(help="YAML file of nodes: name, resources, count, max_count.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same figures as JSON.")] = False,
    rps: Annotated[float | None, typer.Option(min=1e-6, help="Requests a second to size the fleet for.")] = None,
    cascade: Annotated[str, typer.Option(help="With --rps: cascade that is asked.")] = "default",
    deferral_rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="With --rps: share of requests that each tier defers.")
    ] = None,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="With --rps: prompt tokens per request.")] = 256,
    completion_tokens: Annotated[int, typer.Option(min=1, help="With --rps: generated tokens per answer.")] = 128,
    speed: Annotated[
        list[str] | None, typer.Option(help="With --rps: speed of a model, 'NAME={step_s: 0.012}'; may be repeated.")
    ] = None,
) -> None:
    """Show what a config requires of a cluster, and whether it fits; with --rps, how many replicas a load needs."""
    from serve_app.config.ray_rules import load
    from serve_app.planning import feasibility, plan_report
    from serve_app.planning.nodes import read
    from serve_app.planning.plan import plan_of

    file = load(config)
    if rps is not None:
        if node or nodes:
            raise ConfigError(
                "--rps: sizes the fleet for a load, --node and --nodes place the configured one; not both."
            )
        _plan_capacity(
            file, cascade, rps, deferral_rate, (prompt_tokens, completion_tokens), speed or [], as_json=as_json
        )
        return
    for name in WITH_RPS:
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE":
            raise ConfigError(f"--{name.replace('_', '-')}: has no effect without --rps.")
    groups = read(nodes, node or [])
    planned = plan_of(file, _file_bytes(file.application.args))
    fit = feasibility.fits(planned, groups) if groups else None
    if as_json:
        echo_json(plan_report.body(planned, fit), indent=2)
    else:
        console = result_console()
        plan_report.render(planned, fit, console)
    if fit and fit.impossible:
        raise ServerError(f"These nodes cannot run it: {'; '.join(fit.impossible)}.")


def _plan_capacity(
    file: "ServeFile",
    cascade: str,
    rps: float,
    deferral_rate: float | None,
    tokens: tuple[int, int],
    speed: list[str],
    *,
    as_json: bool,
) -> None:
    from serve_app.planning import capacity, capacity_report
    from serve_app.planning.speeds import speeds_of

    args, options = file.application.args, file.application.deployments_in_force()
    speeds, calibrated = speeds_of(args, speed), file.calibrated_rate(cascade)
    checked_rps = min(rps, capacity_report.SIMULATED_RPS)
    planned, small = (
        capacity.capacity(
            args, options, capacity.assume(args, cascade, rate, deferral_rate, *tokens, calibrated), speeds
        )
        for rate in (rps, checked_rps)
    )
    simulation = capacity_report.check(small)
    if as_json:
        echo_json(capacity_report.body(planned, simulation, checked_rps), indent=2)
    else:
        console = result_console()
        capacity_report.render(planned, simulation, checked_rps, console)


def _file_bytes(args: "AppConfig") -> dict[str, int]:
    """Return the sizes of the model files that are on this machine already."""
    from serve_app.weights import cached

    paths = {name: cached(weights, sha256) for name, weights, sha256 in args.weights()}
    return {
        name: path.stat().st_size
        for name, path in paths.items()
        if path is not None and path.is_file() and path.suffix != ".zip"
    }
