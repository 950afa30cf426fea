"""A router whose deployments nobody asks anything."""

from typing import Any

from serve_app.config import AppConfig
from serve_app.deployments.router import Router


class Handle:
    """Of a deployment that is never called."""

    def options(self, **_: Any) -> "Handle":
        return self


def router_of(models: dict[str, Any], cascades: dict[str, Any]) -> Router:
    """Return a router of this config, without a cluster."""
    handle: Any = Handle()
    config = AppConfig.model_validate({"models": models, "cascades": cascades})
    return Router(config, dict.fromkeys(config.deployed(), handle), handle, {})
