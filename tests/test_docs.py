"""README.md and docs/: commands parse, configs validate, links lead somewhere, and the site builds."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer.main
import yaml
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

from serve_app.api.answering.exchange import SESSION_HEADER, TIMEOUT_HEADER
from serve_app.api.chat.schema import ChatCompletion, TextCompletion
from serve_app.api.chat.tolerated import IGNORED, NEUTRAL
from serve_app.api.errors.detail import FAILURE_STATUS
from serve_app.api.fields.cascade_options import StreamedOptions
from serve_app.api.messages import blocks as message_blocks
from serve_app.api.messages import tolerated as message_fields
from serve_app.api.messages.errors import type_of
from serve_app.api.messages.schema import MessageRequest, TokenCount
from serve_app.api.responses import tolerated as responses
from serve_app.api.responses.schema import ResponseRequest
from serve_app.cli.commands import app
from serve_app.cluster.settings import Settings
from serve_app.config import AppConfig
from serve_app.config.overrides import DeploymentOverride
from serve_app.config.serve_file import ServeFile
from serve_app.core.record import CallRecord, DecisionRecord, TierDecision, TierRecord
from serve_app.core.types.answer import FailureKind
from serve_app.core.types.policy import Reason

ROOT = Path(__file__).parents[1]
FOLDER_READMES = ("configs", "k8s", "k8s/monitoring", "loadtests", "serve_app/evaluation")
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / folder / "README.md" for folder in FOLDER_READMES),
]
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROMPTS = re.compile(r"^(?:\$ )?(?:sudo )?(?:\.venv(?:-vllm)?/bin/)?")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, *languages: str) -> Iterator[str]:
    """Return the fenced code blocks in one of these languages."""
    for language, block in re.findall(
        r"^```(\w*)[^\n]*\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        if language in languages:
            yield block


def command_lines(path: Path) -> Iterator[str]:
    """Return the lines of shell blocks and indented code, continued lines joined, without prompts."""
    text = path.read_text(encoding="utf-8")
    indented = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    for block in [*blocks(path, "bash", "console", "shell"), indented]:
        for line in block.replace("\\\n", " ").splitlines():
            yield PROMPTS.sub("", line.strip())


def commands(path: Path, program: str) -> list[list[str]]:
    """Return the arguments of every call of a program."""
    lines = (line for line in command_lines(path) if line.startswith(f"{program} "))
    parsed = (shlex.split(re.split(r" [|>] | && ", line)[0], comments=True) for line in lines)
    return [[word for word in words[1:] if word != "&"] for words in parsed]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_cascade_command_parses(path: Path) -> None:
    for arguments in commands(path, "cascade"):
        command, words = typer.main.get_command(app), list(arguments)
        while hasattr(command, "commands") and words[0] != "--help":
            assert words[0] in command.commands, f"{name(path)}: cascade {' '.join(arguments)}"
            command = command.commands[words.pop(0)]
        if "--help" not in words:
            command.make_context("cascade", words)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_config_file_in_a_command_exists(path: Path) -> None:
    named = {word for words in commands(path, "cascade") for word in words if word.startswith(("configs/", "k8s/"))}
    assert {word for word in named if not (ROOT / word).exists()} == set()


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_commands_of_ray_serve_are_given_rays_token(path: Path) -> None:
    lines = list(command_lines(path))
    exported = any(line.startswith("export RAY_AUTH_MODE=token") for line in lines)
    called = [line for line in lines if re.search(r"(^|[ /])serve (deploy|status|config)\b", line)]
    assert [line for line in called if not exported and "RAY_AUTH_MODE=token " not in line] == []


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_make_target_exists(path: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):.* ## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = path.read_text(encoding="utf-8")
    named = {words[0] for words in commands(path, "make")} | set(re.findall(r"`make ([\w-]+)", text))
    assert named - targets == set()


QUICKSTART = ROOT / "configs" / "quickstart.yaml"
K8S_SETTINGS = set(Settings.model_fields) - {"name"}


def validated(values: dict[str, Any]) -> bool:
    """Return whether a YAML block is ours. A fragment is validated over the quickstart, whose models it may name."""
    if "applications" in values:
        ServeFile.model_validate(complete(values))
    elif "deployments" in values:
        for entry in values["deployments"]:
            DeploymentOverride.model_validate(entry)
    elif values.keys() <= set(AppConfig.model_fields):
        AppConfig.model_validate(merged(values))
    elif values.keys() <= K8S_SETTINGS:
        Settings.model_validate(values)
    else:
        return False
    return True


def quickstart() -> dict[str, Any]:
    args: dict[str, Any] = yaml.safe_load(QUICKSTART.read_text())["applications"][0]["args"]
    return args


def merged(values: dict[str, Any]) -> dict[str, Any]:
    args = quickstart()
    for key, value in values.items():
        args[key] = {**args.get(key, {}), **value}
    return args


def complete(values: dict[str, Any]) -> dict[str, Any]:
    """Return the file, with the quickstart's models added if it shows only a part of a model's entry."""
    [application] = values["applications"]
    written = application.get("args", {})
    args = merged({key: value for key, value in written.items() if key != "models"})
    for model, entry in written.get("models", {}).items():
        args["models"][model] = {**args["models"].get(model, {}), **entry}
    return values | {"applications": [{"import_path": "serve_app.app:build_app", **application, "args": args}]}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_yaml_block_validates(path: Path) -> None:
    for block in blocks(path, "yaml"):
        assert validated(yaml.safe_load(block)), f"{name(path)}: no part of a config, nor of settings:\n{block}"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_python_and_json_block_parses(path: Path) -> None:
    for block in blocks(path, "python"):
        compile(block, name(path), "exec")
    for block in blocks(path, "json"):
        json.loads(block)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and our site make them."""
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    titles = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in re.findall(r"^#+ (.*)", text, re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def section(page: str, title: str) -> str:
    """Return the text under a heading, up to the next heading of any level."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.split(r"^#+ ", text.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(table: str) -> list[list[str]]:
    """Return the cells of a table's rows, without its head."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([\w.]+)", cell)


def test_the_api_page_lists_every_honoured_field() -> None:
    fields: dict[bool, set[str]] = {chat: set() for chat in (True, False)}
    for cell, chat, text, *_ in rows(section("api.md", "Honoured")):
        for field in names(cell):
            fields[True] |= {field.partition(".")[0]} if chat else set()
            fields[False] |= {field.partition(".")[0]} if text else set()
    assert fields == {True: set(ChatCompletion.model_fields), False: set(TextCompletion.model_fields)}
    own = {field for cell, *_ in rows(section("api.md", "Per-request options")) for field in names(cell)}
    assert own == set(StreamedOptions.model_fields)


def test_the_api_page_lists_every_value_that_asks_for_nothing() -> None:
    for cell, values in rows(section("api.md", "Let through, only with a value that asks for nothing")):
        for field in names(cell):
            shown = [value.strip("`") for value in values.split(", ")]
            assert shown == [
                value if isinstance(value, str) and value else json.dumps(value) for value in NEUTRAL[field]
            ]
    assert set(NEUTRAL) - set(ChatCompletion.model_fields) == {
        field
        for cell, _ in rows(section("api.md", "Let through, only with a value that asks for nothing"))
        for field in names(cell)
    }


def test_the_api_page_lists_every_ignored_field() -> None:
    table = {cell: tuple(re.findall(r"`(\w+)`", fields)) for cell, fields in rows(section("api.md", "Ignored"))}
    assert table == {f"a {group}" if group != "request" else "the request": names for group, names in IGNORED.items()}


def as_code(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def test_the_api_page_lists_every_field_of_responses() -> None:
    table = {names(cell)[0]: kind for cell, kind, _ in rows(section("api.md", "Fields of a request for a response"))}
    shown = {kind: {field for field in table if table[field] == kind} for kind in set(table.values())}
    assert shown["honoured"] == set(ResponseRequest.model_fields)
    assert shown["ignored"] == set(responses.IGNORED["the request"])
    only = {field: "only " + ", ".join(map(as_code, values)) for field, values in responses.NEUTRAL.items()}
    assert {field: kind for field, kind in table.items() if kind.startswith("only ")} == only
    field_names = set(get_type_hints(ResponseCreateParamsStreaming)) | {
        "cascade",
        "max_reasoning_tokens",
        "client_metadata",
    }
    assert {field for field in table if "." not in field} == field_names


def test_the_api_page_lists_every_ignored_field_of_items() -> None:
    table = {cell: tuple(names(fields)) for cell, fields in rows(section("api.md", "Items").split("their value:")[1])}
    assert table == {group: fields for group, fields in responses.IGNORED.items() if group != "the request"}


def test_the_api_page_lists_every_field_of_messages() -> None:
    honoured = rows(section("api.md", "Fields of messages: honoured"))
    fields = {field: counted for cell, counted, _ in honoured for field in names(cell)}
    assert set(fields) == set(MessageRequest.model_fields)
    assert {field for field, counted in fields.items() if counted == "yes"} == set(TokenCount.model_fields)


def test_the_api_page_lists_every_block_of_messages() -> None:
    shown = {name: roles for cell, roles, _ in rows(section("api.md", "Blocks of messages")) for name in names(cell)}
    for role, block in (("user", message_blocks.UserBlock), ("assistant", message_blocks.AssistantBlock)):
        tags = {str(get_args(member)[1].tag).strip("<>") for member in get_args(get_args(block)[0])}
        assert tags == {name for name, roles in shown.items() if roles in (role, "every role")}


def test_the_api_page_lists_what_messages_let_through() -> None:
    title = "Fields of messages: let through, only with a value that asks for nothing"
    shown = {names(cell)[0]: values.replace("`", "") for cell, values in rows(section("api.md", title))}
    tolerated = message_fields.NEUTRAL | message_fields.TOOL_NEUTRAL
    assert shown == {
        field: ", ".join(value if isinstance(value, str) else json.dumps(value) for value in values)
        for field, values in tolerated.items()
    }
    ignored = {cell: tuple(names(fields)) for cell, fields in rows(section("api.md", "Fields of messages: ignored"))}
    assert ignored == {
        "the request" if group == "request" else f"a {group}": names for group, names in message_fields.IGNORED.items()
    }


def test_the_api_page_lists_the_error_type_of_every_status() -> None:
    shown = {
        int(code): names(cell)[0]
        for codes, cell in rows(section("api.md", "Messages in return"))
        for code in codes.split(", ")
    }
    statuses = {int(cell) for cell, _ in rows(section("api.md", "Errors"))} - {499}
    assert shown == {status: type_of(status) for status in statuses}


def test_the_api_page_lists_every_status_of_a_failure() -> None:
    statuses = {int(cell) for cell, _ in rows(section("api.md", "Errors"))}
    assert set(FAILURE_STATUS.values()) <= statuses


def test_the_record_is_described_field_by_field() -> None:
    text = section("how-it-decides.md", "The decision record")
    for record in (DecisionRecord, TierRecord, TierDecision, CallRecord):
        for field in dataclasses.fields(record):
            # A tier's decision has no object of its own in JSON.
            assert field.name == "decision" or re.search(rf"[`.]{field.name}(_s)?[`.\[]", text), field.name
    for word in (*get_args(Reason), *get_args(FailureKind)):
        assert f"`{word}`" in text


def test_getting_started_lists_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    table = rows(section("getting-started.md", "Install and start"))
    shown = [extra for cell, _ in table for extra in re.findall(r"`([\w-]+)`", cell)]
    assert sorted(shown) == sorted(extras.keys() - {"dev"})


def test_the_operating_page_lists_every_variable_of_ours() -> None:
    table = rows(section("operating.md", "Environment variables and exit codes"))
    shown = {variable for cell, *_ in table for variable in names(cell)}
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "serve_app").rglob("*.py"))
    assert set(re.findall(r"\bCASCADE_[A-Z_]+[A-Z]\b", sources)) <= shown


def test_the_api_page_lists_the_headers_that_decide_a_request() -> None:
    shown = {
        header
        for cell, _ in rows(section("api.md", "Headers of a request"))
        for header in re.findall(r"`([\w-]+)", cell)
    }
    assert {SESSION_HEADER, TIMEOUT_HEADER, "Cache-Control", "Content-Encoding", "traceparent"} <= shown


METRICS = ROOT / "k8s" / "monitoring" / "README.md"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_metric_in_the_text_has_the_name_that_prometheus_has(path: Path) -> None:
    exported = {names(cell)[0] for cell, *_ in rows(METRICS.read_text("utf-8").partition("\n## Metrics\n")[2])}
    shown = set(re.findall(r"`((?:ray_)?cascade_\w+)`", path.read_text(encoding="utf-8")))
    assert shown - {"cascade_event"} <= exported, "cascade_event is an event of a stream"


def test_every_alert_has_a_first_step() -> None:
    rules = yaml.safe_load((ROOT / "k8s" / "monitoring" / "alerts.yaml").read_text())["spec"]["groups"]
    alerts = [rule["alert"] for group in rules for rule in group["rules"] if "alert" in rule]
    shown = [re.findall(r"\[(\w+)\]", cell)[0] for cell, *_ in rows(section("operating.md", "Dashboard and alerts"))]
    assert shown == alerts


def test_the_configuration_reference_is_up_to_date() -> None:
    command = [sys.executable, "docs/reference.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_config_field_says_what_it_means() -> None:
    page = (ROOT / "docs" / "configuration-reference.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.startswith("| `") and line.endswith("|  |")] == []


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "index.html").is_file()


def test_the_readme_is_short_and_starts_with_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert 150 <= len(lines) <= 200
    first_screen = "\n".join(lines[:40])
    assert "make serve" in first_screen
    assert "make test" in first_screen
