"""The help of every command: complete, and in one style."""

from collections.abc import Iterator

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup

from serve_app.cli.main import app


def commands(group: TyperGroup, words: tuple[str, ...] = ()) -> Iterator[tuple[str, TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, (*words, name))
        else:
            assert isinstance(command, TyperCommand)
            yield " ".join((*words, name)), command


ROOT = typer.main.get_command(app)
assert isinstance(ROOT, TyperGroup)
COMMANDS = dict(commands(ROOT))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_has_a_help_text(name: str) -> None:
    texts = {parameter.name: getattr(parameter, "help", None) or "" for parameter in COMMANDS[name].params}
    assert {key: text for key, text in texts.items() if not text[:1].isupper()} == {}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str) -> None:
    text = COMMANDS[name].help or ""
    assert text[:1].isupper()
    assert text.splitlines()[0].endswith(".")
