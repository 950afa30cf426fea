"""The router's deployment, and its settings."""

from typing import Any

import pytest

from serve_app.config import (
    AppConfig,
    RouterSettings,
)
from serve_app.config.deployment import Autoscaling, DeploymentOptions
from serve_app.config.services import RouterDeployment
from tests.config.values import MEMBERS, REPLAY, TARGET, config, problems


@pytest.mark.parametrize(
    ("router", "shared"),
    [
        ({}, False),
        ({"num_replicas": 1}, False),
        ({"num_replicas": 2}, True),
        ({"autoscaling_config": {"max_replicas": 1}}, False),
        ({"autoscaling_config": {"max_replicas": 2}}, True),
    ],
)
def test_routers_share_a_store_if_there_may_be_several(router: dict[str, Any], shared: bool):
    args = AppConfig.model_validate(config(router={"deployment": router}))
    assert [name for name in args.deployments() if name not in args.models] == [
        "Scorer",
        *(["StateStore"] if shared else []),
        "Router",
    ]


@pytest.mark.parametrize(
    ("field", "requests"), [("router", 1000), ("scorer", 256), ("state_store", 1000), ("signals", 256)]
)
def test_a_deployment_with_options_holds_as_many_requests_as_one_without(field: str, requests: int):
    """A block that says something else, such as resources, must not bring a model's number along."""
    deployment = {"graceful_shutdown_timeout_s": 5}
    written = {"bleurt": {"kind": "bleurt", "environment": "/x", "deployment": deployment}}
    block = written if field == "signals" else {"deployment": deployment}
    args = AppConfig.model_validate(config(**{field: block}))
    options = args.signals["bleurt"] if field == "signals" else getattr(args, field)
    assert options.deployment.max_ongoing_requests == requests


def test_texts_are_not_shown_to_everybody():
    assert problems(AppConfig, config(router={"page_texts": True, "access": {"open": True}})) == [
        "router.page_texts: with access.open everybody is an operator and would see them; use API keys."
    ]
    assert AppConfig.model_validate(config(router={"page_texts": True})).router.page_texts


class TestTheRouterReports:
    """Serve asks for figures only where it scales, so the router scales from n to n where they are of use."""

    def router(self, target: dict[str, Any], **router: Any) -> DeploymentOptions:
        models = config()["models"] | {"t": REPLAY | {"deployment": target}}
        values = config(models=models) | {"router": {"deployment": router}}
        return AppConfig.model_validate(values).deployments()["Router"]

    def test_not_where_nothing_scales_by_deferral(self):
        assert self.router({}, num_replicas=3) == RouterDeployment(num_replicas=3)
        member = REPLAY | {"deployment": {"autoscaling_config": {"max_replicas": 3}}}
        args = AppConfig.model_validate(config(models=config()["models"] | {"a": member}))
        assert args.later_models() == {"t"}
        assert args.deployments()["Router"] == args.router.deployment

    def test_as_often_as_the_target_needs_it(self):
        scaling = {"max_replicas": 4, "metrics_interval_s": 2, "look_back_period_s": 6}
        got = self.router({"autoscaling_config": scaling}, num_replicas=3, max_ongoing_requests=7)
        assert (got.num_replicas, got.max_ongoing_requests) == (None, 7)
        assert got.autoscaling_config == Autoscaling(
            min_replicas=3, max_replicas=3, metrics_interval_s=2, look_back_period_s=6
        )

    def test_a_router_that_scales_already_is_left_alone(self):
        own = {"min_replicas": 1, "max_replicas": 5}
        got = self.router({"autoscaling_config": {"max_replicas": 4}}, autoscaling_config=own)
        assert got.autoscaling_config == Autoscaling(**own)


class TestRouterSettings:
    TWO = config(
        cascades={
            "default": {"tiers": [MEMBERS, TARGET]},
            "long": {"tiers": [MEMBERS, {"models": ["c"], "signal": "chow_avg", "threshold": -1}, TARGET]},
        }
    )

    def test_they_win_over_the_first_thresholds(self):
        app = AppConfig.model_validate(self.TWO)
        assert RouterSettings().applied_to(app) == {"default": [0.5], "long": [0.5, -1]}
        assert RouterSettings(thresholds={"long": [0.9, -2]}).applied_to(app) == {"default": [0.5], "long": [0.9, -2]}
        assert app.thresholds() == {"default": [0.5], "long": [0.5, -1]}

    def test_what_does_not_fit(self):
        app = AppConfig.model_validate(self.TWO)
        with pytest.raises(
            ValueError, match=r"^thresholds.long: needs 2 numbers, one for each tier but the last, got 1$"
        ):
            RouterSettings(thresholds={"long": [0.9]}).applied_to(app)
        with pytest.raises(ValueError, match=r"^thresholds.lang: no such cascade. Did you mean 'long'\? Available: d"):
            RouterSettings(thresholds={"lang": [0.9]}).applied_to(app)
        calibrated = {"id": "c", "thresholds": [0.5], "agreements": {"low": 1, "high": 0, "counts": [1]}}
        assert problems(RouterSettings, {"calibrations": {"default": calibrated}}) == [
            "calibrations.default.agreements.high: needs at least low, 1, got 0."
        ]
        assert problems(RouterSettings, {"threshold": {}}) == [
            "threshold: unknown key. Did you mean 'thresholds'? Available: calibrations, thresholds."
        ]
