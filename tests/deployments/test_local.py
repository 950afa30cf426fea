"""What is looked at before a cluster starts."""

import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.serve._private.common import DeploymentStatus, DeploymentStatusTrigger
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, DeploymentStatusOverview
from typer.testing import CliRunner

from serve_app.cli.main import app
from serve_app.config.serve_file import ServeFile, load
from serve_app.deployments import local
from serve_app.deployments.local import check_environments, check_room, watch
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


ARGS = {
    "models": {name: {"engine": "replay", "default": "x"} for name in ("a", "b", "t")},
    "cascades": {
        "default": {"tiers": [{"models": ["a", "b"], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]}
    },
}


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
def test_the_room_check_and_the_plan_agree(
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
        check_room(load(path))
        assert planned.exit_code == 0, planned.output
    else:
        with pytest.raises(ServerError) as caught:
            check_room(load(path))
        sums = str(caught.value).removeprefix("This machine cannot run the config: ")
        assert problem in sums
        assert planned.exit_code == 1
        assert planned.stderr == f"cascade: These nodes cannot run it: {sums}\n"


def status(state: str, message: str = "", **deployments: tuple[str, str]) -> ApplicationStatusOverview:
    listed = {
        name: DeploymentStatusOverview(DeploymentStatus(health), DeploymentStatusTrigger.UNSPECIFIED, {}, reason)
        for name, (health, reason) in deployments.items()
    }
    return ApplicationStatusOverview(ApplicationStatus(state), message, 0.0, listed)


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        (status("RUNNING", a=("HEALTHY", "")), "Everything runs again."),
        (status("DEPLOYING", a=("UPDATING", "")), "Everything runs again."),
        (status("UNHEALTHY", a=("UNHEALTHY", ""), b=("HEALTHY", "")), "Not running: a. Ray Serve restarts it."),
        (
            status("DEPLOY_FAILED", "Traceback:\nValueError: no such model"),
            "A deploy failed. The application failed: no such model. What ran before still answers.",
        ),
        (
            status("DEPLOY_FAILED", "", a=("DEPLOY_FAILED", "ValueError: no weights"), b=("HEALTHY", "")),
            "A deploy failed. The deployment 'a' failed: no weights.",
        ),
        (None, "Not running: Ray Serve. Ray Serve restarts it."),
    ],
)
def test_the_console_reports_what_changes(
    seen: ApplicationStatusOverview | None, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"applications": [{"import_path": "serve_app.app:build_app", "args": ARGS}]}))
    # It begins with another trouble, so that its end is a change, too.
    statuses = iter([status("UNHEALTHY", c=("UNHEALTHY", "")), seen, seen])
    monkeypatch.setattr(local, "WATCH_S", 0)
    monkeypatch.setattr(local, "application_status", lambda _: next(statuses))
    lines: list[str] = []
    with pytest.raises(StopIteration):
        watch(load(path), lines.append)
    assert lines == ["Not running: c. Ray Serve restarts it.", line]
