"""Tiers as the decision core gets them."""

import pickle

import pytest

from serve_app.config import (
    AppConfig,
)
from serve_app.core.types.answer import Generation, TokenLogprob
from serve_app.core.types.policy import Tier
from tests.config.values import MEMBERS, TARGET, cascade, config


class TestTiers:
    def test_every_option_reaches_the_core(self):
        options = {
            "agreement": "mean",
            "direction": "reference",
            "select": "b",
            "min_answers": 2,
            "truncated": "discard",
            "timeout_s": 3,
        }
        app = AppConfig.model_validate(cascade(MEMBERS | options, TARGET | {"timeout_s": 9}))
        assert app.tiers("default", [0.7]) == (
            Tier(("a", "b"), "exact", 0.7, "mean", "reference", "b", 2, "discard", 3.0),
            Tier(("t",), timeout_s=9.0),
        )

    def test_defaults(self):
        app = AppConfig.model_validate(config())
        assert app.tiers("default", [0.5]) == (
            Tier(("a", "b"), "exact", 0.5, min_answers=2, timeout_s=120.0),
            Tier(("t",), timeout_s=600.0),
        )

    def test_a_target_alone(self):
        app = AppConfig.model_validate(cascade(TARGET))
        assert app.tiers("default", []) == (Tier(("t",), timeout_s=600.0),)
        assert app.thresholds() == {"default": []}

    def test_token_level(self):
        values = cascade({"models": ["a"], "signal": "worst", "threshold": -1}, TARGET)
        app = AppConfig.model_validate(values | {"signals": {"worst": {"kind": "chow_quantile", "q": 0}}})
        tier, _ = app.tiers("default", [-1.5])
        assert (tier.models, tier.signal, tier.threshold, tier.min_answers) == (("a",), "worst", -1.5, 1)
        assert tier.confidence is not None
        sure = Generation("x", "stop", 1, 2, logprobs=(TokenLogprob("x", -0.5), TokenLogprob("y", -2.0)))
        assert tier.confidence("a", sure) == -2.0
        assert pickle.loads(pickle.dumps(tier)).confidence("a", sure) == -2.0
        assert "worst" not in app.similarities()

    def test_token_level_ensembles_need_zscores_and_average_by_default(self):
        zscores = {name: {"mean": -1.0, "std": 0.5} for name in MEMBERS["models"]}
        signals = {"sure": {"kind": "chow_avg", "zscores": zscores}}
        app = AppConfig.model_validate(cascade(MEMBERS | {"signal": "sure"}, TARGET) | {"signals": signals})
        tier, _ = app.tiers("default", [0.0])
        assert (tier.agreement, tier.min_answers) == ("mean", 2)
        answer = Generation("x", "stop", 1, 1, logprobs=(TokenLogprob("x", -0.5),))
        assert tier.confidence(MEMBERS["models"][0], answer) == 1.0

    def test_another_signal_has_its_own_defaults(self):
        zscores = {name: {"mean": -1.0, "std": 0.5} for name in MEMBERS["models"]}
        signals = {"sure": {"kind": "chow_avg", "zscores": zscores}}
        app = AppConfig.model_validate(cascade(MEMBERS | {"signal": "sure"}, TARGET) | {"signals": signals})
        tier, target = app.tiers("default", [0.5], "rougeL")
        assert (tier.signal, tier.agreement, tier.confidence, tier.threshold) == ("rougeL", "max", None, 0.5)
        assert target == app.tiers("default", [0.5])[1]
        alone = AppConfig.model_validate(cascade({"models": ["a"], "signal": "chow_avg", "threshold": -1}, TARGET))
        assert alone.tiers("default", [-1], "rougeL") == alone.tiers("default", [-1])

    def test_thresholds_must_fit(self):
        with pytest.raises(ValueError, match="shorter"):
            AppConfig.model_validate(config()).tiers("default", [])
