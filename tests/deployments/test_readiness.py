"""What /readyz says when Serve's controller says nothing."""

from typing import Any

import pytest

from serve_app.config import AppConfig
from serve_app.deployments import router
from serve_app.deployments.liveness import Health
from serve_app.deployments.router import Router


class Handle:
    """A deployment that nobody asks anything."""

    def options(self, **_: Any) -> "Handle":
        return self


async def test_the_last_word_holds_while_the_controller_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> dict[str, Health]:
        if found is None:
            raise KeyError("cascade")
        return found

    found: dict[str, Health] | None = None
    monkeypatch.setattr(router, "_look", look)
    monkeypatch.setattr(router, "STATUS_AGE_S", -1.0)
    handle: Any = Handle()
    models = {"t": {"engine": "replay", "default": "x"}}
    config = AppConfig.model_validate({"models": models, "cascades": {"default": {"tiers": [{"models": ["t"]}]}}})
    watched = Router(config, {}, handle, {})
    first = await watched.readiness()
    assert (first.ready, first.details) == (False, {"message": "Serve's status is not known."})
    found = {"t": Health(1, "HEALTHY")}
    assert (await watched.readiness()).ready
    found = None
    assert (await watched.readiness()).ready
