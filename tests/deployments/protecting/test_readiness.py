"""When a router says that every cascade can answer."""

import asyncio
import threading

import pytest

from serve_app.deployments import wiring
from serve_app.deployments.protecting.liveness import Health
from tests.deployments.replies import MODELS, REPLAY, routed
from tests.deployments.unasked import router_of


class TestReadiness:
    UP = Health(1, "HEALTHY")

    @pytest.mark.parametrize(
        ("down", "waiting"),
        [
            (set(), []),
            ({"t"}, ["default.tiers[1]", "three.tiers[2]"]),
            ({"a"}, ["default.tiers[0]", "three.tiers[0]"]),
            ({"Scorer"}, ["default.tiers[0]", "three.tiers[0]", "three.tiers[1]"]),
        ],
    )
    def test_a_tier_waits_for_its_models_and_its_scorer(self, down: set[str], waiting: list[str]) -> None:
        health = {name: Health(0, "UPDATING") if name in down else self.UP for name in (*MODELS, "Scorer", "Router")}
        readiness = routed().parts.readiness.of(health)
        assert readiness.details["waiting_for"] == [f"cascades.{tier}" for tier in waiting]
        assert readiness.ready == (not waiting)
        assert readiness.details["thresholds"] == {"default": [0.5], "three": [0.5, 0.25]}

    async def test_the_last_word_holds_while_the_controller_is_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def look() -> dict[str, Health]:
            if health is None:
                raise KeyError("cascade")
            return health

        health: dict[str, Health] | None = None
        monkeypatch.setattr(wiring, "_look", look)
        monkeypatch.setattr("serve_app.deployments.protecting.readiness.STATUS_AGE_S", -1.0)
        router = router_of({"t": REPLAY}, {"default": {"tiers": [{"models": ["t"]}]}})
        first = await router.readiness()
        assert (first.ready, first.details["message"]) == (False, "Serve's status is unknown.")
        health = {"t": self.UP}
        assert (await router.readiness()).ready
        health = None
        assert (await router.readiness()).ready

    async def test_probes_and_viewers_share_one_look_at_a_slow_controller(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each blocks a thread of the pool that compares answers."""

        def look() -> dict[str, Health]:
            looks.append(answers.wait(60))
            return {"t": self.UP}

        looks: list[bool] = []
        answers = threading.Event()
        monkeypatch.setattr(wiring, "_look", look)
        router = router_of({"t": REPLAY}, {"default": {"tiers": [{"models": ["t"]}]}})
        asking = [
            router.readiness(),
            router.readiness(),
            router.parts.live_view.snapshot(),
            router.parts.live_view.snapshot(),
        ]
        tasks = [asyncio.create_task(request) for request in asking]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        answers.set()
        first, second, *snapshots = await asyncio.gather(*tasks)
        assert (looks, first, second) == ([True], second, first)
        assert snapshots[0] is snapshots[1]

    async def test_a_router_that_drains_is_not_ready(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wiring, "_look", lambda: {"t": self.UP})
        router = router_of({"t": REPLAY}, {"default": {"tiers": [{"models": ["t"]}]}})
        ready = await router.readiness()
        assert (ready.ready, ready.details["draining"]) == (True, False)
        assert await router.drain() == 0
        draining = await router.readiness()
        assert (draining.ready, draining.details["draining"]) == (False, True)
