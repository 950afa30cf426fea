"""When a router's requests ask the target ahead of its turn."""

from tests.deployments.replies import CASCADES, QUESTION, closed, opened, routed

SPECULATING = {"default": CASCADES["default"] | {"speculate": "always"}}


class TestSpeculation:
    async def test_the_target_is_asked_with_the_members(self) -> None:
        router = routed(cascades=SPECULATING)
        run = opened(router).run
        assert run.speculation is not None
        assert run.speculation.delay_s(0, QUESTION) == 0.0
        assert run.speculation.may_start(["t"])
        assert opened(routed()).run.speculation is None

    async def test_a_target_without_a_free_slot_is_not(self) -> None:
        router = routed(cascades=SPECULATING)
        requests = [opened(router, "t") for _ in range(64)]  # the replay engine's slots
        run = opened(router).run
        assert run.speculation is not None
        assert not run.speculation.may_start(["t"])
        requests[0].close(None)
        assert run.speculation.may_start(["t"])
        assert not run.speculation.may_start(["t", "t"])

    async def test_conversations_that_stay_with_the_target_teach_nothing(self) -> None:
        sticky = CASCADES["default"] | {"speculate": {"percentile": 50}, "stickiness": "escalate"}
        router = routed(cascades={"default": sticky})
        for _ in range(21):
            await closed(router, session="s")
        run = opened(router).run
        assert run.speculation is not None
        assert run.speculation.delay_s(0, QUESTION) is None

    def test_a_target_that_is_tried_anew_is_left_to_those_who_need_it(self) -> None:
        router = routed(cascades=SPECULATING, circuit_breaker={"failures": 1, "open_s": 1e-9})
        run = opened(router).run
        assert run.speculation is not None
        assert run.speculation.may_start(["t"])
        with router.parts.protection.breakers["t"].trial() as trial:
            trial.report(False)
        assert router.parts.protection.breakers["t"].left_s is None
        assert not run.speculation.may_start(["t"])

    async def test_a_policy_learns_from_requests_that_had_it(self) -> None:
        router = routed(cascades={"default": CASCADES["default"] | {"speculate": {"percentile": 50}}})
        for _ in range(20):
            await closed(router, threshold=0.9)
        run = opened(router).run
        assert run.speculation is not None
        assert run.speculation.delay_s(0, QUESTION) is None
        for _ in range(20):
            await closed(router)
        assert run.speculation.delay_s(0, QUESTION) is not None
