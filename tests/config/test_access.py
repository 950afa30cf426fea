"""Who may ask, in a config: never everybody by mistake."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

from serve_app.cli.commands import app
from serve_app.config import AccessConfig
from serve_app.config.serve_file import load

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"open": True, "keys_file": "k"}, "open: true lets everybody in without a key, and keys_file asks for one"),
        ({"limits_url": "redis://r:6379"}, "limits_url: limits are those of keys, and there is no keys_file"),
        ({"keys_file": "k", "limits_password_env": "P"}, "limits_password_env: there is no limits_url"),
        *(
            ({"keys_file": "k", "limits_url": url}, "must be redis://HOST:PORT, or rediss:// for TLS")
            for url in (
                "redis://:pass@r:6379",
                "redis://r",
                "redis://r:0",
                "redis://r:65536",
                "redis://r:6379/x",
                "redis://r:6379\n",
                "memcached://r:1",
                "r:6379",
                "",
            )
        ),
    ],
)
def test_what_contradicts_itself_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as error:
        AccessConfig.model_validate(values)
    assert sentence in str(error.value)
    assert ":pass@" not in str(error.value)


@pytest.mark.parametrize("url", ["redis://redis:6379", "rediss://r.example.com:6380/2"])
def test_stores_that_all_replicas_share(url: str) -> None:
    assert AccessConfig.model_validate({"keys_file": "k", "limits_url": url}).limits_url == url


def written(folder: Path, host: str | None, **access: Any) -> Path:
    values = yaml.safe_load(QUICKSTART.read_text())
    values["http_options"] = {"port": 8000} | ({"host": host} if host else {})
    values["applications"][0]["args"]["router"] = {"access": access}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", None])
def test_on_this_machine_no_key_is_needed(tmp_path: Path, host: str | None) -> None:
    assert load(written(tmp_path, host)).lets_everybody_in is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "cascade.example.com"])
def test_other_machines_need_a_key_or_the_owners_word(tmp_path: Path, host: str) -> None:
    problem = load(written(tmp_path, host)).lets_everybody_in
    assert problem is not None
    assert problem.startswith(f"http_options.host: {host!r} lets other machines in, and there are no API keys.")
    assert load(written(tmp_path, host, open=True)).lets_everybody_in is None
    assert load(written(tmp_path, host, keys_file="keys.yaml")).lets_everybody_in is None


def test_serve_refuses_to_let_everybody_in_and_says_how_not_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.cli.server.serve._prepare_ray", lambda: None)
    path = written(tmp_path, "0.0.0.0")
    result = CliRunner().invoke(app, ["serve", str(path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"cascade: {path}: http_options.host: '0.0.0.0' lets other machines in")
    for way in ("cascade keys create NAME --file keys.yaml", "{keys_file: keys.yaml}", "127.0.0.1", "{open: true}"):
        assert way in result.stderr


def test_serve_refuses_keys_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.cli.server.serve._prepare_ray", lambda: None)
    result = CliRunner().invoke(app, ["serve", str(written(tmp_path, "0.0.0.0", keys_file=str(tmp_path / "no.yaml")))])
    assert (result.exit_code, result.stderr) == (2, f"cascade: There is no keys file '{tmp_path / 'no.yaml'}'.\n")


def test_check_warns_of_a_config_that_serve_would_refuse(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(written(tmp_path, "0.0.0.0"))])
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: http_options.host: '0.0.0.0' lets other machines in")
    assert CliRunner().invoke(app, ["check", str(written(tmp_path, "0.0.0.0", open=True))]).stderr == ""
