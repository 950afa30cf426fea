"""`cascade keys`: the key is shown once, and nothing else of it ever again."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from serve_app.cli.commands import app
from serve_app.config.key_file import read_keys


def keys(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["keys", *map(str, arguments)])


def test_a_key_is_created_listed_and_revoked(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    limits = ["--requests-per-minute", "60", "--tokens-per-minute", "1234567", "--usd-per-day", "2.5"]
    result = keys("create", "alice", "--file", file, "--models", "default, qwen", *limits)
    assert result.exit_code == 0
    secret = result.stdout.strip()
    assert read_keys(file).name_of(secret) == "alice"
    assert result.stderr == f"Keep it: {file} has only its hash, and it is not shown again.\n"

    shown = keys("list", "--file", file).stdout
    row = next(line.split() for line in shown.splitlines() if line.startswith("alice"))
    assert row[:-1] == ["alice", "default,", "qwen", "60", "1234567", "2.5"]
    listed = json.loads(keys("list", "--file", file, "--json").stdout)
    assert listed["alice"] | {"created": ""} == {
        "created": "",
        "models": ["default", "qwen"],
        "requests_per_minute": 60,
        "tokens_per_minute": 1234567,
        "usd_per_day": 2.5,
        "admin": False,
    }

    assert keys("revoke", "alice", "--file", file).stdout == "Revoked: alice.\n"
    assert read_keys(file).api_keys == {}


def test_an_admins_key_asks_nothing(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    assert keys("create", "ops", "--file", file, "--admin").exit_code == 0
    assert "nothing: admin" in keys("list", "--file", file).stdout
    refused = keys("create", "x", "--file", file, "--admin", "--models", "default")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("cascade: api_keys.x.admin: ")


def test_models_are_names_with_a_comma_between_them(tmp_path: Path) -> None:
    refused = keys("create", "x", "--file", tmp_path / "keys.yaml", "--models", "a,,b")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "cascade: --models: 'a,,b' has an empty name; write names with a comma between them.\n",
    )
