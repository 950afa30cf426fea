"""Checks of a config before it is deployed here."""

import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from typer.testing import CliRunner

from serve_app.cli.commands import app
from serve_app.config.serve_file import ServeFile, load
from serve_app.deployments.local.checks import check_environments, check_resources
from serve_app.errors import ServerError
from tests.deployments.local.application import ARGS


def file(python: Path, folder: Path) -> ServeFile:
    """Return a config whose signal `bleurt` runs in an environment of its own."""
    signals = {"bleurt": {"kind": "bleurt", "weights": str(folder), "environment": str(python)}}
    tiers = [{"models": ["first", "second"], "signal": "bleurt", "threshold": 0.0}, {"models": ["target"]}]
    models = {name: {"engine": "replay"} for name in ("first", "second", "target")}
    args = {"models": models, "signals": signals, "cascades": {"default": {"tiers": tiers}}}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"applications": [{"import_path": "serve_app.app:build_app", "args": args}]}))
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


def within(cpus: float) -> list[dict[str, Any]]:
    return [{"NodeManagerAddress": "127.0.0.1", "Resources": {"CPU": cpus}, "Alive": True}]


@pytest.mark.parametrize(
    ("deployment", "options", "problem"),
    [
        ({"name": "t"}, {}, None),
        ({"name": "t", "num_replicas": 50}, {}, "it needs 5.4 CPUs"),
        ({"name": "t", "num_replicas": 50}, {"target_capacity": 10}, None),
        ({"name": "t", "ray_actor_options": {"num_cpus": 3}}, {}, "no node can hold a bundle of 't': 3 CPUs"),
    ],
)
def test_the_check_of_resources_and_the_plan_agree(
    deployment: dict[str, Any],
    options: dict[str, Any],
    problem: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a config whose `deployments` change what `args` ask for."""
    path = tmp_path / "config.yaml"
    entry = {"import_path": "serve_app.app:build_app", "args": ARGS, "deployments": [deployment]}
    path.write_text(yaml.safe_dump({"applications": [entry]} | options))
    monkeypatch.setattr(ray, "nodes", lambda: within(2))
    planned = CliRunner().invoke(app, ["plan", str(path), "--node", "{CPU: 2}"])
    if problem is None:
        check_resources(load(path))
        assert planned.exit_code == 0, planned.output
    else:
        with pytest.raises(ServerError) as caught:
            check_resources(load(path))
        sums = str(caught.value).removeprefix("This machine cannot run the config: ")
        assert problem in sums
        assert planned.exit_code == 1
        assert planned.stderr == f"cascade: These nodes cannot run it: {sums}\n"
