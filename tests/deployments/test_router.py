"""The router, constructed and called without a cluster: thresholds, overrides, records, readiness."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.caller import Caller
from serve_app.config import AppConfig
from serve_app.core.record import DecisionRecord
from serve_app.core.running.cascade import outcome_of, run_cascade
from serve_app.core.running.run import Run
from serve_app.core.tools import Tool
from serve_app.core.types.answer import Answer, Generation
from serve_app.core.types.outcome import Budget, Outcome, Precheck
from serve_app.core.types.policy import Embedding, Scores
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.deployments import router as router_module
from serve_app.deployments.protecting.liveness import Health
from serve_app.deployments.router import Router
from serve_app.errors import OverloadedError, RequestError, UnknownModelError
from serve_app.skipping.fitted import PROBE
from tests.deployments.unasked import router_of
from tests.skipping import past

QUESTION = Prompt((Message("user", "Capital of France?"),))
PARIS = Generation("Paris", "stop", 10, 2, latency_s=1.0)
ROME = Generation("Rome", "stop", 10, 2, latency_s=1.0)
LONG = Generation("It is Paris.", "stop", 10, 5, latency_s=2.0)
REPLAY = {"engine": "replay", "default": "x", "parameters": 1e9}
MODELS = dict.fromkeys(("a", "b", "c", "d", "t"), REPLAY)
MEMBERS = {"models": ["a", "b"], "signal": "exact", "threshold": 0.5}
CASCADES = {
    "default": {"tiers": [MEMBERS, {"models": ["t"]}]},
    "three": {"tiers": [MEMBERS, {"models": ["c", "d"], "signal": "rougeL", "threshold": 0.25}, {"models": ["t"]}]},
}


class Deployment:
    """A handle whose replica gives one answer; as a scorer, it compares for equality."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def options(self, **_: Any) -> "Deployment":
        return self

    async def remote(self, *arguments: Any, **_: Any) -> Any:
        if isinstance(arguments[0], str):
            texts = arguments[1]
            return Scores(tuple(tuple(float(a == b) for b in texts) for a in texts))
        return self.answer


def routed(b: Answer = ROME, cascades: dict[str, Any] = CASCADES, **router: Any) -> Router:
    """A router over models `a` to `d` and the target `t`; `a` and `b` disagree unless `b` says otherwise."""
    config = AppConfig.model_validate({"models": MODELS, "cascades": cascades, "router": router})
    answers = {"a": PARIS, "b": b, "c": ROME, "d": ROME, "t": LONG}
    handles: dict[str, Any] = {name: Deployment(answer) for name, answer in answers.items()}
    return Router(config, handles, handles["a"], {})


def opened(router: Router, model: str = "default", **options: Any) -> Run:
    return router.open(model, QUESTION, CascadeOptions(**options), stream=False)


async def closed(router: Router, model: str = "default", **options: Any) -> DecisionRecord:
    run = opened(router, model, **options)
    return router.close(model, run, await run_cascade(run), CascadeOptions(**options))


def thresholds(run: Run) -> list[float]:
    return [tier.threshold for tier in run.tiers[:-1]]


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
        refused = router._readiness.of({}).details["refused_user_config"]
        assert refused["message"].startswith(sentence)
        assert (refused["user_config"], refused["in_force"]["default"]) == (user_config, [0.9])
        router.reconfigure({})
        assert router._readiness.of({}).details["refused_user_config"] is None


class TestBudgets:
    async def test_a_request_brings_its_own(self) -> None:
        router = routed()
        assert opened(router).budget is None
        assert opened(router, max_flops=1e9, max_latency_s=2).budget == Budget(None, 1e9, 2.0)
        await closed(router)  # from now on it knows how long answers are
        # 6.4e10 are expected of the members, 4.8e10 are spent, and 3e10 more are expected of the target.
        record = await closed(router, max_flops=7e10)
        assert record.replaced is not None
        assert (record.answered_by, record.replaced.kind) == ("a", "unaffordable")

    def test_a_unit_that_is_unknown_is_refused(self) -> None:
        with pytest.raises(RequestError, match=r"^cascade\.max_cost_usd: what a model costs in this unit is not known"):
            opened(routed(), max_cost_usd=1)

    async def test_a_single_model_may_have_a_time_limit(self) -> None:
        router = routed()
        assert opened(router, "a", max_latency_s=9).budget == Budget(seconds=9.0)
        assert (await closed(router, "a", max_latency_s=9)).answered_by == "a"
        with pytest.raises(RequestError, match=r"^cascade\.max_flops: 'a' is a single model"):
            opened(router, "a", max_latency_s=9, max_flops=1e30)

    def test_several_answers_are_refused(self) -> None:
        with pytest.raises(RequestError, match=r"^n: a request with a budget"):
            routed().open("default", QUESTION, CascadeOptions(max_flops=1), stream=False, answers=2)


EXCHANGE = [
    {"thresholds": [0.1], "usd": 1.0, "quality": 0.6},
    {"thresholds": [0.9], "usd": 5.0, "quality": 0.9},
]


def calibrated(exchange: list[dict[str, Any]]) -> Router:
    router = routed()
    router.reconfigure({"calibrations": {"default": {"id": "c1", "thresholds": [0.5], "exchange": exchange}}})
    return router


class TestWillingnessToPay:
    @pytest.mark.parametrize(("worth", "threshold"), [(1.0, 0.1), (20.0, 0.9)])
    def test_the_thresholds_are_those_that_it_pays_for(self, worth: float, threshold: float) -> None:
        """At 20 dollars 1 + 20 x .4 is more than 5 + 20 x .1."""
        router = calibrated(EXCHANGE)
        assert opened(router).tiers[0].threshold == 0.5
        assert opened(router, willingness_to_pay_usd=worth).tiers[0].threshold == threshold

    async def test_the_record_has_the_threshold_and_no_calibration(self) -> None:
        record = await closed(calibrated(EXCHANGE), willingness_to_pay_usd=20.0)
        assert record.tiers[0].decision is not None
        assert (record.calibration, record.tiers[0].decision.threshold) == (None, 0.9)

    def test_without_an_exchange_rate_it_is_refused(self) -> None:
        for router in (routed(), calibrated([])):
            with pytest.raises(
                RequestError, match=r"^cascade\.willingness_to_pay_usd: no calibration in force"
            ) as refusal:
                opened(router, willingness_to_pay_usd=1)
            assert refusal.value.param == "cascade.willingness_to_pay_usd"

    @pytest.mark.parametrize("other", [{"threshold": 0.3}, {"signal": "bleu"}, {"compare": {"take": ["last_number"]}}])
    def test_it_goes_with_no_other_policy(self, other: dict[str, Any]) -> None:
        with pytest.raises(RequestError, match=rf"leave out cascade\.{next(iter(other))}\."):
            opened(calibrated(EXCHANGE), willingness_to_pay_usd=1, **other)

    def test_points_that_do_not_fit_the_cascade_are_refused(self) -> None:
        router = calibrated([{"thresholds": [0.1, 0.2], "usd": 1.0, "quality": 0.6}])
        assert router._policies.refused is not None
        message = router._policies.refused["message"]
        assert message == "user_config.calibrations.default.exchange[0].thresholds: needs 1, got 2."


def test_a_key_that_floods_leaves_room_for_another() -> None:
    """Of the 64 slots of `t` and 64 places before it, three quarters: 96."""
    router = routed(max_waiting=1)

    def ask(key: str) -> Run:
        return router.open("t", QUESTION, CascadeOptions(), stream=False, caller=Caller(key))

    runs = [ask("flood") for _ in range(96)]
    with pytest.raises(
        OverloadedError, match=r"has 96 requests, 96 of them by the key 'flood'; the places that are left"
    ):
        ask("flood")
    runs.append(ask("alice"))
    for run in runs:
        router.close("t", run, None, CascadeOptions())
    assert len([ask("flood") for _ in range(96)]) == 96


class TestKeysWithABudget:
    def test_what_has_no_price_is_refused(self) -> None:
        with pytest.raises(RequestError, match="what a model of this id costs is not known") as refused:
            routed().open("default", QUESTION, CascadeOptions(), stream=False, caller=Caller("alice", budgeted=True))
        assert (refused.value.code, refused.value.param) == ("price_unknown", "model")

    def test_what_has_prices_is_not(self) -> None:
        priced = {name: model | {"input_usd": 1} for name, model in MODELS.items()}
        run = router_of(priced, CASCADES).open(
            "default", QUESTION, CascadeOptions(), stream=False, caller=Caller("alice", budgeted=True)
        )
        assert run.caller == "alice"


SPECULATING = {"default": CASCADES["default"] | {"speculate": "always"}}


class TestSpeculation:
    async def test_the_target_is_asked_with_the_members(self) -> None:
        router = routed(cascades=SPECULATING)
        run = opened(router)
        assert run.speculation is not None
        assert run.speculation.delay_s(0, QUESTION) == 0.0
        assert run.speculation.may_start(["t"])
        assert opened(routed()).speculation is None

    async def test_a_target_without_a_free_slot_is_not(self) -> None:
        router = routed(cascades=SPECULATING)
        runs = [opened(router, "t") for _ in range(64)]  # the replay engine's slots
        run = opened(router)
        assert run.speculation is not None
        assert not run.speculation.may_start(["t"])
        router.close("t", runs[0], None, CascadeOptions())
        assert run.speculation.may_start(["t"])
        assert not run.speculation.may_start(["t", "t"])

    async def test_conversations_that_stay_with_the_target_teach_nothing(self) -> None:
        sticky = CASCADES["default"] | {"speculate": {"percentile": 50}, "stickiness": "escalate"}
        router = routed(cascades={"default": sticky})
        for _ in range(21):
            await closed(router, session="s")
        run = opened(router)
        assert run.speculation is not None
        assert run.speculation.delay_s(0, QUESTION) is None

    def test_a_target_that_is_tried_anew_is_left_to_those_who_need_it(self) -> None:
        router = routed(cascades=SPECULATING, circuit_breaker={"failures": 1, "open_s": 1e-9})
        run = opened(router)
        assert run.speculation is not None
        assert run.speculation.may_start(["t"])
        with router._protection.breakers["t"].trial() as trial:
            trial.works = False
        assert router._protection.breakers["t"].left_s is None
        assert not run.speculation.may_start(["t"])

    async def test_a_policy_learns_from_requests_that_had_it(self) -> None:
        router = routed(cascades={"default": CASCADES["default"] | {"speculate": {"percentile": 50}}})
        for _ in range(20):
            await closed(router, threshold=0.9)
        run = opened(router)
        assert run.speculation is not None
        assert run.speculation.delay_s(0, QUESTION) is None
        for _ in range(20):
            await closed(router)
        assert run.speculation.delay_s(0, QUESTION) is not None


class TestOverload:
    async def test_a_full_member_refuses_the_request_and_sends_it_to_nobody(self) -> None:
        router = routed(max_waiting=0)
        runs = [opened(router) for _ in range(64)]  # the replay engine's slots
        with pytest.raises(OverloadedError, match=r"^The model 'a' has 64 requests, as many as may wait for it\.$"):
            opened(router)
        assert opened(router, "t")  # the target has room
        router.close("default", runs[0], None, CascadeOptions())
        record = await closed(router)
        assert record.deferred
        assert {model: call.status for model, call in record.models.items()} == {"a": "ok", "b": "ok", "t": "ok"}
        with pytest.raises(OverloadedError):
            [opened(router) for _ in range(2)]

    async def test_places_are_given_back_however_a_request_ends(self) -> None:
        router = routed(max_waiting=0)
        for _ in range(65):
            router.close("default", opened(router), None, CascadeOptions())
            assert (await closed(router)).answered_by == "t"


class TestOpen:
    def test_an_unknown_model_is_named(self) -> None:
        with pytest.raises(UnknownModelError, match=r"^There is no model 'defalt'\. Did you mean 'default'\?") as error:
            opened(routed(), "defalt")
        assert (error.value.param, error.value.code) == ("model", "model_not_found")

    def test_a_single_model_is_asked_alone(self) -> None:
        run = opened(routed(), "b")
        assert [tier.models for tier in run.tiers] == [("b",)]

    @pytest.mark.parametrize(
        ("model", "threshold", "expected"),
        [("default", 0.7, [0.7]), ("three", 0.7, [0.7, 0.7]), ("three", [0.1, 0.2], [0.1, 0.2])],
    )
    def test_a_request_may_bring_its_own_thresholds(self, model: str, threshold: Any, expected: list[float]) -> None:
        router = routed()
        assert thresholds(opened(router, model, threshold=threshold)) == expected
        assert thresholds(opened(router, model)) == [0.5, 0.25][: len(expected)]

    def test_a_request_may_bring_its_own_signal(self) -> None:
        run = opened(routed(), "three", signal="chrf")
        assert [tier.signal for tier in run.tiers] == ["chrf", "chrf", None]

    @pytest.mark.parametrize(
        ("model", "options", "field", "sentence"),
        [
            ("default", {"threshold": [0.1, 0.2]}, "threshold", "needs one number."),
            ("three", {"threshold": [0.1]}, "threshold", "needs one number, or 2 (one for each tier but the last)."),
            ("default", {"signal": "rogueL"}, "signal", "no signal 'rogueL'. Did you mean 'rougeL'?"),
            ("t", {"threshold": 0.5}, "threshold", "'t' is a single model; there is nothing to decide."),
            ("t", {"force": "defer"}, "force", "'t' is a single model; there is nothing to decide."),
        ],
    )
    def test_what_a_request_may_not_bring_is_refused_by_name(
        self, model: str, options: dict[str, Any], field: str, sentence: str
    ) -> None:
        with pytest.raises(RequestError) as error:
            opened(routed(), model, **options)
        assert error.value.param == f"cascade.{field}"
        assert str(error.value).startswith(f"cascade.{field}: {sentence}")

    def test_answers_of_one_model_cannot_be_compared(self) -> None:
        tiers = [{"models": ["a"], "signal": "chow_avg", "threshold": -1}, {"models": ["t"]}]
        with pytest.raises(RequestError) as error:
            opened(router_of({"a": REPLAY, "t": REPLAY}, {"default": {"tiers": tiers}}), signal="rougeL")
        assert error.value.param == "cascade.signal"
        assert str(error.value) == "cascade.signal: 'rougeL' compares answers, and no tier has several to compare."

    def test_only_the_models_that_a_request_would_ask_must_honour_it(self) -> None:
        models = MODELS | {"old": {"engine": "seq2seq", "weights": "./t5"}}
        mixed = {"tiers": [MEMBERS | {"models": ["a", "old"]}, {"models": ["t"]}]}
        router = router_of(models, CASCADES | {"mixed": mixed})
        tools = Prompt(QUESTION.messages, tools=(Tool("f"),))
        for model in ("default", "a"):
            assert router.open(model, tools, CascadeOptions(), stream=False).prompt == tools
        for model in ("mixed", "old"):
            with pytest.raises(RequestError, match=r"^tools: tools are not honoured by 'old', which would be asked\.$"):
                router.open(model, tools, CascadeOptions(), stream=False)


class TestClose:
    @pytest.mark.parametrize(("b", "deferred", "by"), [(PARIS, False, "a"), (ROME, True, "t")])
    async def test_the_record_says_who_answered(self, b: Answer, deferred: bool, by: str) -> None:
        record = await closed(routed(b))
        assert (record.id, record.deferred, record.answered_by) == ("default", deferred, by)
        assert record.cost.flops == 2e9 * (12 + 12 + 15 * deferred)

    async def test_a_request_that_asks_for_all_answers_waits_for_all(self) -> None:
        tiers = [{"models": ["a", "b", "c"], "signal": "exact", "threshold": 0.9}, {"models": ["t"]}]
        router = routed(cascades={"default": {"tiers": tiers}})
        assert (opened(router).tiers[0].may_settle_early, opened(router).tiers[0].early) == (True, "selection")
        assert opened(router, include_answers=True).tiers[0].early == "off"

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
        seen = {name: Health(0, "UPDATING") if name in down else self.UP for name in (*MODELS, "Scorer", "Router")}
        readiness = routed()._readiness.of(seen)
        assert readiness.details["waiting_for"] == [f"cascades.{tier}" for tier in waiting]
        assert readiness.ready == (not waiting)
        assert readiness.details["thresholds"] == {"default": [0.5], "three": [0.5, 0.25]}

    async def test_the_last_word_holds_while_the_controller_is_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def look() -> dict[str, Health]:
            if seen is None:
                raise KeyError("cascade")
            return seen

        seen: dict[str, Health] | None = None
        monkeypatch.setattr(router_module, "_look", look)
        monkeypatch.setattr("serve_app.deployments.protecting.readiness.STATUS_AGE_S", -1.0)
        router = router_of({"t": REPLAY}, {"default": {"tiers": [{"models": ["t"]}]}})
        first = await router.readiness()
        assert (first.ready, first.details["message"]) == (False, "Serve's status is unknown.")
        seen = {"t": self.UP}
        assert (await router.readiness()).ready
        seen = None
        assert (await router.readiness()).ready

    async def test_a_router_that_drains_is_not_ready(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(router_module, "_look", lambda: {"t": self.UP})
        router = router_of({"t": REPLAY}, {"default": {"tiers": [{"models": ["t"]}]}})
        ready = await router.readiness()
        assert (ready.ready, ready.details["draining"]) == (True, False)
        assert await router.drain() == 0
        draining = await router.readiness()
        assert (draining.ready, draining.details["draining"]) == (False, True)


def test_cards_are_the_cascades_and_then_the_models() -> None:
    cards = routed().cards()
    assert [(card.id, card.kind) for card in cards] == [
        *[(id_, "cascade") for id_ in CASCADES],
        *[(name, "model") for name in MODELS],
    ]
    assert cards[0].details == {
        "tiers": [{"models": ["a", "b"], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]
    }
    assert cards[2].details == {"engine": "replay", "parameters": 1e9}


# LoRA adapters are asked at their base's deployment, under names of their own.
BASE = {"engine": "vllm", "weights": "hf://org/base", "parameters": 1e9, "tool_call_parser": "hermes"}
ADAPTER = {"engine": "vllm_lora", "base": "base", "weights": "hf://org/adapter"}
ADAPTED_TIERS = [{"models": ["base", "sql"], "signal": "exact", "threshold": 0.5}, {"models": ["law"]}]


class Adapted:
    """A handle whose replica says whom it was asked as."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    def options(self, **_: Any) -> "Adapted":
        return self

    async def remote(self, *arguments: Any, **named: str) -> Any:
        if isinstance(arguments[0], str):
            return Scores(((1.0, 0.0), (0.0, 1.0)), 0.0)
        self.asked.append(named)
        return Generation(named.get("adapter", "itself"), "stop", 10, 2, latency_s=3.0)


def adapters(**base: Any) -> AppConfig:
    models = {"base": BASE | base, "sql": ADAPTER, "law": ADAPTER}
    return AppConfig.model_validate({"models": models, "cascades": {"default": {"tiers": ADAPTED_TIERS}}})


def of_adapters(config: AppConfig, deployment: Any) -> Router:
    return Router(config, {"base": deployment}, deployment, {})


async def test_a_request_goes_to_the_base_with_the_adapters_name() -> None:
    deployment = Adapted()
    router = of_adapters(adapters(), deployment)
    run = router.open("default", Prompt((Message("user", "Hi"),)), CascadeOptions(force="defer"), stream=False)
    outcome = await run_cascade(run)
    assert isinstance(outcome, Outcome)
    assert deployment.asked == [{}, {"adapter": "sql"}, {"adapter": "law"}]
    record = router.close("default", run, outcome, CascadeOptions())
    assert record.answered_by == "law"
    assert record.models.keys() == {"base", "sql", "law"}
    # 2 x parameters x tokens of each, at the base's size.
    assert record.cost.flops == 3 * 2 * 1e9 * 12
    # All three are work for the base: two at once, then a third.
    expected = router.record_autoscaling_stats()
    assert expected.keys() == {"expected_ongoing:base"}
    assert expected["expected_ongoing:base"] > 0


def test_it_can_what_its_base_can() -> None:
    prompt = Prompt((Message("user", "Hi"),), tools=(Tool("f"),), sampling=Sampling(logprobs=True))
    assert of_adapters(adapters(), Adapted()).open("sql", prompt, CascadeOptions(), stream=False).prompt == prompt
    with pytest.raises(RequestError, match="tools are not honoured by 'base', 'sql', 'law'"):
        of_adapters(adapters(tool_call_parser=None), Adapted()).open("default", prompt, CascadeOptions(), stream=False)


@pytest.mark.parametrize(
    ("running", "waiting"), [(1, []), (0, ["cascades.default.tiers[0]", "cascades.default.tiers[1]"])]
)
def test_it_is_ready_when_its_base_is(running: int, waiting: list[str]) -> None:
    up = Health(1, "HEALTHY")
    seen = {"base": Health(running, "UPDATING"), "Scorer": up, "Router": up}
    readiness = of_adapters(adapters(), Adapted())._readiness.of(seen)
    assert readiness.details["waiting_for"] == waiting


def test_its_card() -> None:
    cards = {card.id: card for card in of_adapters(adapters(), Adapted()).cards()}
    assert cards["sql"].details == {"engine": "vllm_lora", "parameters": 1e9}


class TestEmbeddings:
    class Encoder(Deployment):
        """Notes what it is asked to embed."""

        def __init__(self) -> None:
            self.asked: list[Any] = []

        async def remote(self, *arguments: Any, **_: Any) -> Any:
            self.asked.append(arguments)
            return [Embedding(b"1234", 3)]

    def routed(self, encoder: Any, signal: str = "sbert") -> Router:
        tiers = [{"models": ["a", "b"], "signal": signal, "threshold": 0.5}, {"models": ["t"]}]
        values = {"models": MODELS, "cascades": {"default": {"tiers": tiers}}}
        return Router(AppConfig.model_validate(values), {}, encoder, {})

    async def test_the_scorer_embeds_by_the_signals_that_the_config_names(self) -> None:
        encoder = self.Encoder()
        router = self.routed(encoder)
        assert [card.id for card in router.cards() if card.kind == "embedding"] == ["sbert"]
        assert await router.embed("sbert", ["x"]) == [Embedding(b"1234", 3)]
        assert encoder.asked == [("sbert", ["x"])]

    @pytest.mark.parametrize(
        ("signal", "model", "sentence"),
        [
            ("sbert", "sbrt", "There is no encoder 'sbrt'. Did you mean 'sbert'? Available: sbert."),
            ("sbert", "sbert_mbert", "There is no encoder 'sbert_mbert'. Did you mean 'sbert'? Available: sbert."),
            ("exact", "sbert", "There is no encoder 'sbert'. The config names no sbert signal."),
        ],
    )
    async def test_others_are_not_loaded(self, signal: str, model: str, sentence: str) -> None:
        with pytest.raises(UnknownModelError) as caught:
            await self.routed(self.Encoder(), signal).embed(model, ["x"])
        assert (str(caught.value), caught.value.code) == (sentence, "model_not_found")

    def test_an_id_means_one_thing(self) -> None:
        tiers = [{"models": ["a", "b"], "signal": "sbert", "threshold": 0.5}, {"models": ["t"]}]
        config = AppConfig.model_validate({"models": MODELS, "cascades": {"sbert": {"tiers": tiers}}})
        assert config.encoders() == {}


class TestSkip:
    class Scorer:
        """Embeds by the beginnings of texts."""

        def __init__(self) -> None:
            self.asked: list[list[str]] = []

        def options(self, **_: Any) -> "TestSkip.Scorer":
            return self

        async def remote(self, signal: str, texts: list[str], *_: Any) -> list[Embedding]:
            self.asked.append(texts)
            return [past.embedding(text) for text in texts]

    class Gated:
        """A model that answers once the test lets it."""

        def __init__(self, answer: Answer) -> None:
            self.answer, self.asked, self.gate = answer, asyncio.Event(), asyncio.Event()

        async def generate(self, prompt: Prompt) -> Answer:
            self.asked.set()
            await self.gate.wait()
            return self.answer

    async def routed(self, path: Path, scorer: Any, **cascade: Any) -> Router:
        """A router whose encoder has been tested."""
        past.written(path)
        answers = {"a": PARIS, "b": PARIS, "t": LONG}
        handles: dict[str, Any] = {name: Deployment(answer) for name, answer in answers.items()}
        router = Router(past.config(path, **cascade), handles, scorer, {})
        await self.ask(router, past.ODD)
        await asyncio.sleep(0)
        scorer.asked.clear()
        return router

    async def ask(self, router: Router, text: str, **options: Any) -> DecisionRecord:
        asked = CascadeOptions(**options)
        run = router.open("default", Prompt((Message("user", text),)), asked, stream=False)
        return router.close("default", run, await run_cascade(run), asked)

    async def test_requests_go_where_their_like_went(self, tmp_path: Path) -> None:
        router = await self.routed(tmp_path / "skip.npz", self.Scorer())
        hard, easy, odd = [await self.ask(router, text) for text in (past.HARD, past.EASY, past.ODD)]
        assert (hard.deferred, hard.answered_by, list(hard.models), hard.reason) == (True, "t", ["t"], "skipped")
        assert (easy.deferred, easy.answered_by, list(easy.models)) == (False, "a", ["a"])
        assert (odd.skipped, list(odd.models), odd.reason) == (None, ["a", "b"], "agreement")
        assert hard.skipped == Precheck("deferred", 5, 1.0, flops=8.0)

    async def test_thresholds_that_change_while_it_runs_change_what_is_like(self, tmp_path: Path) -> None:
        router = await self.routed(tmp_path / "skip.npz", self.Scorer())
        router.reconfigure({"thresholds": {"default": [0.1]}})
        assert (await self.ask(router, past.HARD)).answered_by == "a"
        router.reconfigure({"thresholds": {"default": [0.8]}})
        assert (await self.ask(router, past.EASY)).answered_by == "t"

    @pytest.mark.parametrize(
        "options",
        [{"skip": False}, {"include_answers": True}, {"threshold": 0.9}, {"force": "accept"}, {"max_flops": 1e30}],
        ids=str,
    )
    async def test_a_request_may_decline_it(self, tmp_path: Path, options: dict[str, Any]) -> None:
        scorer = self.Scorer()
        record = await self.ask(await self.routed(tmp_path / "skip.npz", scorer), past.HARD, **options)
        assert (record.skipped, list(record.models)[:2], scorer.asked) == (None, ["a", "b"], [])

    async def test_skipped_requests_teach_no_speculation_and_have_no_calibration(self, tmp_path: Path) -> None:
        router = await self.routed(tmp_path / "skip.npz", self.Scorer(), speculate={"percentile": 50})
        router._policies.calibrations = {"default": "c1"}
        records = [await self.ask(router, past.HARD) for _ in range(21)]
        assert {record.calibration for record in records} == {None}
        run = opened(router)
        assert run.speculation is not None
        assert run.speculation.delay_s(0, QUESTION) is None
        assert (await self.ask(router, past.ODD)).calibration == "c1"

    async def test_a_cached_answer_that_was_skipped_to_has_no_calibration(self, tmp_path: Path) -> None:
        router = await self.routed(tmp_path / "skip.npz", self.Scorer(), cache={})
        router._policies.calibrations = {"default": "c1"}
        greedy = Prompt((Message("user", past.HARD),), sampling=Sampling(temperature=0))
        records = []
        for _ in range(2):
            run = router.open("default", greedy, CascadeOptions(), stream=False)
            records.append(router.close("default", run, await outcome_of(router.events(run)), CascadeOptions()))
        assert [record.cached is not None for record in records] == [False, True]
        assert [record.reason for record in records] == ["skipped", "skipped"]
        assert [record.calibration for record in records] == [None, None]

    @pytest.mark.parametrize(("text", "answering", "idle"), [(past.HARD, "t", ["a", "b"]), (past.EASY, "a", ["b"])])
    async def test_a_skipped_request_holds_no_place_at_models_that_it_does_not_ask(
        self, tmp_path: Path, text: str, answering: str, idle: list[str]
    ) -> None:
        router = await self.routed(tmp_path / "skip.npz", self.Scorer())
        gated = self.Gated(PARIS)
        router._protection._models[answering]._model = gated
        run = router.open("default", Prompt((Message("user", text),)), CascadeOptions(), stream=False)
        assert [router._protection.loads[name].in_progress for name in ("a", "b")] == [1, 1]
        task = asyncio.create_task(run_cascade(run))
        await gated.asked.wait()
        assert [router._protection.loads[name].in_progress for name in [*idle, answering]] == [*[0] * len(idle), 1]
        gated.gate.set()
        router.close("default", run, await task, CascadeOptions())
        assert {load.in_progress for load in router._protection.loads.values()} == {0}

    async def test_a_scorer_that_hangs_is_not_waited_for(self, tmp_path: Path) -> None:
        class Hanging(TestSkip.Scorer):
            def remote(self, signal: str, texts: list[str], *_: Any) -> Any:
                if texts == [PROBE]:
                    return super().remote(signal, texts)
                return asyncio.get_running_loop().create_future()

        path = tmp_path / "skip.npz"
        skip = past.SKIP | {"timeout_s": 0.01, "fitted": str(path)}
        router = await self.routed(path, Hanging(), skip=skip)
        record = await self.ask(router, past.HARD)
        assert (record.answered_by, record.skipped) == ("a", None)
        # The scorer is not left out of comparisons for it, but no more prompts are embedded after failures in a row.
        assert router._protection.breakers["Scorer"].failures == 0
        for _ in range(20):
            await self.ask(router, past.HARD)
        assert router._embedder._prompts.left_s is not None

    async def test_an_answer_that_was_skipped_to_is_not_that_of_a_request_that_declines(self, tmp_path: Path) -> None:
        router = await self.routed(tmp_path / "skip.npz", self.Scorer(), cache={})
        greedy = Prompt((Message("user", past.HARD),), sampling=Sampling(temperature=0))
        keys = [
            router._key("default", router.open("default", greedy, CascadeOptions(skip=skip), stream=False))
            for skip in (True, False)
        ]
        assert len(set(keys)) == 2
        assert None not in keys
