"""The router, constructed and called without a cluster: thresholds that change, overload, records, embeddings."""

import json
import logging
from typing import Any

import pytest

from serve_app.api.intake.ask import Ask
from serve_app.api.intake.caller import Caller
from serve_app.config import AppConfig
from serve_app.core.types.answer import Answer
from serve_app.core.types.scores import Embedding
from serve_app.deployments.request import RequestInProgress
from serve_app.deployments.router import Router
from serve_app.errors import OverloadedError
from tests.deployments.replies import MODELS, PARIS, QUESTION, ROME, Deployment, closed, opened, routed, thresholds


class TestReconfigure:
    def test_new_thresholds_hold_for_the_next_request(self) -> None:
        router = routed()
        assert thresholds(opened(router)) == [0.5]
        router.reconfigure({"thresholds": {"default": [0.9]}})
        assert thresholds(opened(router)) == [0.9]
        assert thresholds(opened(router, "three")) == [0.5, 0.25]

    @pytest.mark.parametrize(
        ("user_config", "sentence"),
        [
            ({"thresholds": {"default": [0.1, 0.2]}}, "user_config.thresholds.default: needs 1 number, one for each"),
            ({"thresholds": {"defalt": [0.1]}}, "user_config.thresholds.defalt: no such cascade. Did you mean 'defaul"),
            ({"threshold": {}}, "user_config.threshold"),
        ],
    )
    def test_what_cannot_be_used_is_reported_and_the_last_good_ones_stay(
        self, user_config: dict[str, Any], sentence: str
    ) -> None:
        router = routed()
        router.reconfigure({"thresholds": {"default": [0.9]}})
        router.reconfigure(user_config)
        assert thresholds(opened(router)) == [0.9]
        refused = router.parts.readiness.of({}).details["refused_user_config"]
        assert refused["message"].startswith(sentence)
        assert (refused["user_config"], refused["in_force"]["default"]) == (user_config, [0.9])
        router.reconfigure({})
        assert router.parts.readiness.of({}).details["refused_user_config"] is None


class TestOverload:
    async def test_a_full_member_refuses_the_request_and_sends_it_to_nobody(self) -> None:
        router = routed(max_waiting=0)
        requests = [opened(router) for _ in range(64)]  # the replay engine's slots
        with pytest.raises(OverloadedError, match=r"^The model 'a' has 64 requests, as many as may wait for it\.$"):
            opened(router)
        assert opened(router, "t")  # the target has room
        requests[0].close(None)
        record = await closed(router)
        assert record.deferred
        assert {model: call.status for model, call in record.models.items()} == {"a": "ok", "b": "ok", "t": "ok"}
        with pytest.raises(OverloadedError):
            [opened(router) for _ in range(2)]

    async def test_places_are_given_back_however_a_request_ends(self) -> None:
        router = routed(max_waiting=0)
        for _ in range(65):
            opened(router).close(None)
            assert (await closed(router)).answered_by == "t"


def test_a_key_that_floods_leaves_room_for_another() -> None:
    """Of the 64 slots and the queue of 64 of `t`, three quarters: 96."""
    router = routed(max_waiting=1)

    def ask(key: str) -> RequestInProgress:
        return router.open(Ask("t", QUESTION, caller=Caller(key)))

    requests = [ask("flood") for _ in range(96)]
    with pytest.raises(OverloadedError, match=r"has 96 requests, 96 of them by the key 'flood'; the rest of its queue"):
        ask("flood")
    requests.append(ask("alice"))
    for request in requests:
        request.close(None)
    assert len([ask("flood") for _ in range(96)]) == 96


class TestClose:
    @pytest.mark.parametrize(("b", "deferred", "by"), [(PARIS, False, "a"), (ROME, True, "t")])
    async def test_the_record_says_who_answered(self, b: Answer, deferred: bool, by: str) -> None:
        record = await closed(routed(b))
        assert (record.id, record.deferred, record.answered_by) == ("default", deferred, by)
        assert record.cost.flops == 2e9 * (12 + 12 + 15 * deferred)

    async def test_a_request_that_asks_for_all_answers_waits_for_all(self) -> None:
        tiers = [{"models": ["a", "b", "c"], "signal": "exact", "threshold": 0.9}, {"models": ["t"]}]
        router = routed(cascades={"default": {"tiers": tiers}})
        assert (opened(router).run.tiers[0].may_settle_early, opened(router).run.tiers[0].early) == (True, "selection")
        assert opened(router, include_answers=True).run.tiers[0].early == "off"

    async def test_only_the_client_that_asked_for_answers_gets_them(self, caplog: pytest.LogCaptureFixture) -> None:
        router = routed(log_decisions=True)
        with caplog.at_level(logging.INFO, "ray.serve"):
            record = await closed(router, include_answers=True)
        assert [[answer and answer.text for answer in tier.answers or ()] for tier in record.tiers] == [
            ["Paris", "Rome"],
            ["It is Paris."],
        ]
        [line] = [message for message in caplog.messages if message.startswith("decision ")]
        assert json.loads(line.removeprefix("decision "))["answered_by"] == "t"
        assert "Paris" not in line

    async def test_a_calibration_is_named_by_the_requests_that_it_decided(self) -> None:
        router = routed()
        calibration = {"id": "c1", "thresholds": [0.5]}
        router.reconfigure({"calibrations": {"default": calibration}})
        assert (await closed(router)).calibration == "c1"
        assert (await closed(router, threshold=0.1)).calibration is None
        assert (await closed(router, force="defer")).calibration is None
        assert (await closed(router, "three")).calibration is None

    async def test_a_deferred_request_raises_what_is_expected_of_the_target(self) -> None:
        router = routed()
        await closed(router)
        expected = router.record_autoscaling_stats()
        assert expected.keys() == {f"expected_ongoing:{name}" for name in ("c", "d", "t")}  # those of later tiers
        assert expected["expected_ongoing:t"] > expected["expected_ongoing:c"] == 0


class TestEmbeddings:
    class Encoder(Deployment):
        """Notes what it is asked to embed."""

        def __init__(self) -> None:
            self.requests: list[Any] = []

        async def remote(self, *arguments: Any, **_: Any) -> Any:
            self.requests.append(arguments)
            return [Embedding(b"1234", 3)]

    def routed(self, encoder: Any) -> Router:
        tiers = [{"models": ["a", "b"], "signal": "sbert", "threshold": 0.5}, {"models": ["t"]}]
        values = {"models": MODELS, "cascades": {"default": {"tiers": tiers}}}
        return Router(AppConfig.model_validate(values), {}, encoder, {})

    async def test_the_scorer_embeds_by_the_signals_that_the_config_names(self) -> None:
        encoder = self.Encoder()
        router = self.routed(encoder)
        assert [card.id for card in router.cards() if card.kind == "embedding"] == ["sbert"]
        assert await router.embed("sbert", ["x"]) == [Embedding(b"1234", 3)]
        assert encoder.requests == [("sbert", ["x"])]

    def test_an_id_means_one_thing(self) -> None:
        tiers = [{"models": ["a", "b"], "signal": "sbert", "threshold": 0.5}, {"models": ["t"]}]
        config = AppConfig.model_validate({"models": MODELS, "cascades": {"sbert": {"tiers": tiers}}})
        assert config.encoders() == {}
