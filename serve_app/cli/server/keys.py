"""`cascade keys`: create, list and revoke the keys that clients of a server must have."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.errors_and_exit import echo_json, report_errors
from serve_app.errors import ConfigError
from serve_app.terminal.console import result_console
from serve_app.terminal.table import Table, print_table

if TYPE_CHECKING:
    from serve_app.config.key_file import ApiKey

app = typer.Typer(name="keys", help="API keys of a server: create, list, revoke.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the key, which records and metrics show.")]
File = Annotated[Path, typer.Option(help="Keys file, as router.access.keys_file in the config names it.")]
KEYS = Path("keys.yaml")


@app.command()
@report_errors
def create(
    name: Name,
    file: File = KEYS,
    models: Annotated[
        str | None, typer.Option(metavar="ID,...", help="Cascades, models and encoders that it may ask. Default: all.")
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Limit of requests in a minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1, help="Limit of tokens in a minute.")] = None,
    usd_per_day: Annotated[float | None, typer.Option(min=1e-6, help="Limit of US dollars in a day (UTC).")] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="Create a key for the operators' views, which asks no models.")
    ] = False,
) -> None:
    """Create a key and print it, this once; the file gets its hash. A running server takes it within seconds."""
    from serve_app.config.key_file import create_key

    rights = {
        "models": None if models is None else _ids(models),
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "usd_per_day": usd_per_day,
        "admin": admin,
    }
    secret = create_key(file, name, **rights)
    typer.echo(secret)
    typer.echo(f"Keep it: {file} has only its hash, and it is not shown again.", err=True)


@app.command("list")
@report_errors
def list_(
    file: File = KEYS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as one JSON object.")] = False,
) -> None:
    """List the keys and what each may do; nothing of the keys themselves."""
    from serve_app.config.key_file import read_keys

    keys = read_keys(file).api_keys
    if as_json:
        echo_json({name: key.model_dump(exclude={"sha256"}) for name, key in keys.items()}, indent=2)
        return
    header = ("name", "may ask", "requests/min", "tokens/min", "USD/day", "created")
    rows = tuple((name, *_cells(key)) for name, key in keys.items())
    print_table(Table(f"Keys in {file}", header, rows, words=frozenset({0, 1})), result_console())


@app.command()
@report_errors
def revoke(name: Name, file: File = KEYS) -> None:
    """Remove a key; a running server refuses it within seconds."""
    from serve_app.config.key_file import revoke_key

    revoke_key(file, name)
    typer.echo(f"Revoked: {name}.")


def _ids(text: str) -> list[str]:
    ids = [part.strip() for part in text.split(",")]
    if not all(ids):
        raise ConfigError(f"--models: {text!r} has an empty name; write names with a comma between them.")
    return ids


def _cells(key: "ApiKey") -> tuple[str, ...]:
    models = "nothing: admin" if key.admin else "all" if key.models is None else ", ".join(key.models) or "nothing"
    counts = ("-" if limit is None else str(limit) for limit in (key.requests_per_minute, key.tokens_per_minute))
    usd = "-" if key.usd_per_day is None else f"{key.usd_per_day:.10g}"
    return (models, *counts, usd, key.created)
