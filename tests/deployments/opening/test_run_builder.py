"""What a request may bring, and what of it is refused."""

from typing import Any

import pytest

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.ask import Ask
from serve_app.api.intake.caller import Caller
from serve_app.core.tools import Tool
from serve_app.core.types.outcome import Budget
from serve_app.core.types.prompt import Prompt
from serve_app.deployments.router import Router
from serve_app.errors import RequestError, UnknownModelError
from tests.deployments.replies import CASCADES, MEMBERS, MODELS, QUESTION, REPLAY, closed, opened, routed, thresholds
from tests.deployments.unasked import router_of


class TestOpen:
    def test_an_unknown_model_is_named(self) -> None:
        with pytest.raises(UnknownModelError, match=r"^There is no model 'defalt'\. Did you mean 'default'\?") as error:
            opened(routed(), "defalt")
        assert (error.value.param, error.value.code) == ("model", "model_not_found")

    def test_a_single_model_is_asked_alone(self) -> None:
        run = opened(routed(), "b").run
        assert [tier.models for tier in run.tiers] == [("b",)]

    def test_its_time_counts_from_its_arrival(self) -> None:
        assert routed().open(Ask("default", QUESTION, arrived=12.5)).run.started == 12.5

    @pytest.mark.parametrize(
        ("model", "threshold", "expected"),
        [("default", 0.7, [0.7]), ("three", 0.7, [0.7, 0.7]), ("three", [0.1, 0.2], [0.1, 0.2])],
    )
    def test_a_request_may_bring_its_own_thresholds(self, model: str, threshold: Any, expected: list[float]) -> None:
        router = routed()
        assert thresholds(opened(router, model, threshold=threshold)) == expected
        assert thresholds(opened(router, model)) == [0.5, 0.25][: len(expected)]

    def test_a_request_may_bring_its_own_signal(self) -> None:
        run = opened(routed(), "three", signal="chrf").run
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
            assert router.open(Ask(model, tools)).run.prompt == tools
        for model in ("mixed", "old"):
            with pytest.raises(RequestError, match=r"^tools: tools are not honoured by 'old', which would be asked\.$"):
                router.open(Ask(model, tools))


class TestBudgets:
    async def test_a_request_brings_its_own(self) -> None:
        router = routed()
        assert opened(router).run.budget is None
        assert opened(router, max_flops=1e9, max_latency_s=2).run.budget == Budget(None, 1e9, 2.0)
        by_header = Ask("default", QUESTION, CascadeOptions(max_flops=1e9), timeout_s=2.0)
        assert router.open(by_header).run.budget == Budget(None, 1e9, 2.0, "x-request-timeout-s")
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
        assert opened(router, "a", max_latency_s=9).run.budget == Budget(seconds=9.0)
        assert (await closed(router, "a", max_latency_s=9)).answered_by == "a"
        with pytest.raises(RequestError, match=r"^cascade\.max_flops: 'a' is a single model"):
            opened(router, "a", max_latency_s=9, max_flops=1e30)

    def test_several_answers_are_refused(self) -> None:
        with pytest.raises(RequestError, match=r"^n: a request with a budget"):
            routed().open(Ask("default", QUESTION, CascadeOptions(max_flops=1), choices=2))


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
        assert opened(router).run.tiers[0].threshold == 0.5
        assert opened(router, willingness_to_pay_usd=worth).run.tiers[0].threshold == threshold

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

    @pytest.mark.parametrize("policy", [{"threshold": 0.3}, {"signal": "bleu"}, {"compare": {"take": ["last_number"]}}])
    def test_it_goes_with_no_other_policy(self, policy: dict[str, Any]) -> None:
        with pytest.raises(RequestError, match=rf"leave out cascade\.{next(iter(policy))}\."):
            opened(calibrated(EXCHANGE), willingness_to_pay_usd=1, **policy)

    def test_points_that_do_not_fit_the_cascade_are_refused(self) -> None:
        router = calibrated([{"thresholds": [0.1, 0.2], "usd": 1.0, "quality": 0.6}])
        assert router.parts.policies.refused is not None
        message = router.parts.policies.refused["message"]
        assert message == "user_config.calibrations.default.exchange[0].thresholds: needs 1, got 2."


class TestKeysWithABudget:
    def test_what_has_no_price_is_refused(self) -> None:
        with pytest.raises(RequestError, match="what a model of this id costs is not known") as refused:
            routed().open(Ask("default", QUESTION, caller=Caller("alice", budgeted=True)))
        assert (refused.value.code, refused.value.param) == ("price_unknown", "model")

    def test_what_has_prices_is_not(self) -> None:
        priced = {name: model | {"input_usd": 1} for name, model in MODELS.items()}
        request = router_of(priced, CASCADES).open(Ask("default", QUESTION, caller=Caller("alice", budgeted=True)))
        assert request.run.caller == "alice"
