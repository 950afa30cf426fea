"""The config that Ray Serve gets: the user's own, or a copy that says more."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.config.serve_file import ServeFile, load
from serve_app.deployments.local.deploy import as_served
from tests.deployments.local.application import ARGS


def written(folder: Path, keys_file: str | None, **http: str) -> tuple[Path, ServeFile]:
    """Write a config, and return its path and what it says."""
    args: dict[str, Any] = deepcopy(ARGS)
    if keys_file is not None:
        args["router"] = {"access": {"keys_file": keys_file}}
    values: dict[str, Any] = {"applications": [{"import_path": "serve_app.app:build_app", "args": args}]}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values | ({"http_options": http} if http else {})))
    return path, load(path)


@pytest.mark.parametrize("keys_file", [None, "/etc/keys.yaml"])
def test_a_config_that_says_it_all_is_served_itself(tmp_path: Path, keys_file: str | None) -> None:
    path, file = written(tmp_path, keys_file, host="127.0.0.1")
    assert as_served(path, file, tmp_path / "copies") == path


def test_without_a_host_only_this_machine_is_served(tmp_path: Path) -> None:
    path, file = written(tmp_path, None)
    folder = tmp_path / "copies"
    folder.mkdir()
    copy = as_served(path, file, folder)
    assert copy == folder / "config.yaml"
    assert load(copy).raw() == file.raw() | {"http_options": {"host": "127.0.0.1"}}


def test_keys_are_read_from_where_the_server_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, file = written(tmp_path, "keys.yaml", host="127.0.0.1")
    folder = tmp_path / "copies"
    folder.mkdir()
    assert load(as_served(path, file, folder)).application.args.router.access.keys_file == tmp_path / "keys.yaml"
