"""What the console reports while the server is up."""

from pathlib import Path

import pytest
import yaml
from ray.serve._private.common import DeploymentStatus, DeploymentStatusTrigger
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, DeploymentStatusOverview

from serve_app.config.serve_file import load
from serve_app.deployments.local import watch as watching
from serve_app.deployments.local.watch import watch
from tests.deployments.local.application import ARGS


def status(state: str, message: str = "", **deployments: tuple[str, str]) -> ApplicationStatusOverview:
    listed = {
        name: DeploymentStatusOverview(DeploymentStatus(health), DeploymentStatusTrigger.UNSPECIFIED, {}, reason)
        for name, (health, reason) in deployments.items()
    }
    return ApplicationStatusOverview(ApplicationStatus(state), message, 0.0, listed)


@pytest.mark.parametrize(
    ("overview", "line"),
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
    overview: ApplicationStatusOverview | None, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"applications": [{"import_path": "serve_app.app:build_app", "args": ARGS}]}))
    # It begins with another trouble, so that its end is a change, too.
    statuses = iter([status("UNHEALTHY", c=("UNHEALTHY", "")), overview, overview])
    monkeypatch.setattr(watching, "WATCH_S", 0)
    monkeypatch.setattr(watching, "application_status", lambda _: next(statuses))
    lines: list[str] = []
    with pytest.raises(StopIteration):
        watch(load(path), lines.append)
    assert lines == ["Not running: c. Ray Serve restarts it.", line]
