"""What /readyz says when Serve's controller says nothing."""

import pytest

from serve_app.deployments import router
from serve_app.deployments.liveness import Health
from tests.deployments.unasked import router_of


async def test_the_last_word_holds_while_the_controller_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> dict[str, Health]:
        if found is None:
            raise KeyError("cascade")
        return found

    found: dict[str, Health] | None = None
    monkeypatch.setattr(router, "_look", look)
    monkeypatch.setattr(router, "STATUS_AGE_S", -1.0)
    watched = router_of({"t": {"engine": "replay", "default": "x"}}, {"default": {"tiers": [{"models": ["t"]}]}})
    first = await watched.readiness()
    assert (first.ready, first.details) == (False, {"message": "Serve's status is not known."})
    found = {"t": Health(1, "HEALTHY")}
    assert (await watched.readiness()).ready
    found = None
    assert (await watched.readiness()).ready
