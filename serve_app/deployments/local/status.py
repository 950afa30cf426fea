"""Serve's status of an application, and why it failed."""

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatusOverview

from serve_app.deployments.local.sentences import last_sentence


def application_status(name: str) -> ApplicationStatusOverview | None:
    """Return Serve's status of the application, or None if it does not exist yet."""
    try:
        return serve.status().applications.get(name)
    except (RayServeException, RayError):
        return None


def failure_of(status: ApplicationStatusOverview) -> str:
    """Return a sentence on why the application, or one of its deployments, failed."""
    for name, item in status.deployments.items():
        if item.status not in ("HEALTHY", "UPDATING") and item.message:
            return f"The deployment {name!r} failed: {last_sentence(item.message)}"
    return f"The application failed: {last_sentence(status.message)}"
