"""Reports what stops running while the server is up, and what runs again."""

import time
from collections.abc import Callable

from ray.serve.schema import ApplicationStatusOverview

from serve_app.config.serve_file import ServeFile
from serve_app.deployments.local.status import application_status, failure_of

WATCH_S = 5.0


def watch(file: ServeFile, tell: Callable[[str], None]) -> None:
    """Report to `tell`, until interrupted, when a deploy fails or replicas are lost, and when all is well again.

    A deployment in progress is not reported: a change of thresholds is not a failure.
    """
    last_problem = ""
    while True:
        time.sleep(WATCH_S)
        problem = _problem(application_status(file.application.name))
        if problem != last_problem:
            tell(problem or "Everything runs again.")
        last_problem = problem


def _problem(status: ApplicationStatusOverview | None) -> str:
    if status is None:
        return "Not running: Ray Serve. Ray Serve restarts it."
    if status.status == "DEPLOY_FAILED":
        # Serve lists no deployments of an application that it could not build, and replaces none.
        return f"A deploy failed. {failure_of(status)}" + (
            "" if status.deployments else " What ran before still answers."
        )
    missing = ", ".join(name for name, item in status.deployments.items() if item.status == "UNHEALTHY")
    return f"Not running: {missing}. Ray Serve restarts it." if missing else ""
