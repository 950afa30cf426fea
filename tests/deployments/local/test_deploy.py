"""The config that Ray Serve gets: the user's own, or a copy that says more."""

from pathlib import Path
from typing import Any

import yaml

from serve_app.config.serve_file import ServeFile, load
from serve_app.deployments.local.deploy import as_served
from tests.deployments.local.application import ARGS


def written(folder: Path, **http: str) -> tuple[Path, ServeFile]:
    """Write a config, and return its path and what it says."""
    values: dict[str, Any] = {"applications": [{"import_path": "serve_app.app:build_app", "args": ARGS}]}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values | ({"http_options": http} if http else {})))
    return path, load(path)


def test_a_config_that_names_its_host_is_served_itself(tmp_path: Path) -> None:
    path, file = written(tmp_path, host="127.0.0.1")
    assert as_served(path, file, tmp_path / "copies") == path


def test_without_a_host_only_this_machine_is_served(tmp_path: Path) -> None:
    path, file = written(tmp_path)
    folder = tmp_path / "copies"
    folder.mkdir()
    copy = as_served(path, file, folder)
    assert copy == folder / "config.yaml"
    assert load(copy).raw() == file.raw() | {"http_options": {"host": "127.0.0.1"}}
