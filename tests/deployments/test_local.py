"""What is looked at before a cluster starts."""

import sys
from pathlib import Path

import pytest
import yaml

from serve_app.config.serve_file import ServeFile, load
from serve_app.deployments.local import check_environments
from serve_app.errors import ServerError
from tests.serve.test_bleurt_graph import config


def file(python: Path, folder: Path) -> ServeFile:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config(python, folder)))
    return load(path)


def test_an_environment_with_everything(bleurt_python: Path, tmp_path: Path) -> None:
    check_environments(file(bleurt_python, tmp_path))


def test_an_environment_that_is_not_there(tmp_path: Path) -> None:
    sentence = r"of the signal 'bleurt', '.*/python', cannot be run \(No such file or directory\); `make bleurt-env`"
    with pytest.raises(ServerError, match=sentence):
        check_environments(file(tmp_path / "python", tmp_path))


def test_an_environment_without_the_packages(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="lacks one of serve_app, ray, bleurt_pytorch"):
        check_environments(file(Path(sys.executable), tmp_path))
