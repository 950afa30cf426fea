"""The help of every command: complete, and in one style."""

import platform
import re
from collections.abc import Iterator
from importlib.metadata import version

import pytest
import typer.main
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.testing import CliRunner

from serve_app import __version__
from serve_app.cli.commands import app


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
REPEATED = re.compile(r"\b(repeat|repeated|several)\b")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_has_a_help_text(name: str) -> None:
    texts = {parameter.name: getattr(parameter, "help", None) or "" for parameter in COMMANDS[name].params}
    assert {key: text for key, text in texts.items() if not text[:1].isupper()} == {}


FLAG_VERBS = re.compile(r"(Also|Ask|Bound|Create|Delete|Fit|Leave|Only|Print|Replace|Return|Show|Take|Write) ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_says_what_to_do(name: str) -> None:
    flags = [
        parameter for parameter in COMMANDS[name].params if isinstance(parameter, TyperOption) and parameter.is_flag
    ]
    assert [flag.help for flag in flags if not FLAG_VERBS.match(str(flag.help))] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_that_may_be_repeated_says_so(name: str) -> None:
    options = [parameter for parameter in COMMANDS[name].params if isinstance(parameter, TyperOption)]
    silent = [option.name for option in options if option.multiple and not REPEATED.search(str(option.help))]
    assert silent == []


NUMBERS = [
    (name, option)
    for name, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, TyperOption) and option.type_descriptor.annotation in (float, list[float])
]


@pytest.mark.parametrize(("name", "option"), NUMBERS, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("number", ["nan", "inf"])
def test_every_number_is_finite(name: str, option: TyperOption, number: str) -> None:
    others = [parameter for parameter in COMMANDS[name].params if parameter.required]
    words = ["x" for parameter in others if isinstance(parameter, TyperArgument)]
    words += [f"{parameter.opts[0]}=cpu-demo" for parameter in others if isinstance(parameter, TyperOption)]
    result = CliRunner().invoke(app, [*name.split(), *words, f"{option.opts[0]}={number}"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for '{option.opts[0]}'" in result.stderr


@pytest.mark.parametrize("name", ["", "keys", "k8s", "records", *COMMANDS])
def test_h_is_help(name: str) -> None:
    result = CliRunner().invoke(app, [*name.split(), "-h"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Usage: " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("config foo", "Invalid value for 'name': 'foo' is not one of 'quickstart'."),
        ("k8s render c.yaml --overlay foo", "Invalid value for '--overlay': 'foo' is not one of 'cpu-demo',"),
        ("ask hi --timeout-s x", "Invalid value for '--timeout-s': must be a valid number."),
        ("ask hi --max-tokens 0", "Invalid value for '--max-tokens': must be greater than or equal to 1."),
        ("ask hi --threshold nan", "Invalid value for '--threshold': a threshold is a number from -1e9 to 1e9."),
    ],
)
def test_an_invalid_option_is_explained_in_our_words(arguments: str, sentence: str) -> None:
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.replace("│", " ").split())


def test_every_command_has_its_panel() -> None:
    panels = {name: getattr(command, "rich_help_panel", None) for name, command in ROOT.commands.items()}
    assert set(panels.values()) == {"Serve", "Ask", "Evaluate", "Operate"}


def test_the_versions_are_shown() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (
        result.output == f"semantic-cascade {__version__}, Ray {version('ray')}, Python {platform.python_version()}\n"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str) -> None:
    text = COMMANDS[name].help or ""
    assert text[:1].isupper()
    assert text.splitlines()[0].endswith(".")
