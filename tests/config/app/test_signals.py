"""Signals that a cascade may name, and which deployment computes them."""

from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from serve_app.config import (
    AppConfig,
)
from serve_app.config.explain import explain
from serve_app.core.types.answer import Generation, TokenLogprob
from serve_app.core.types.blend import Blend
from tests.config.values import MEMBERS, TARGET, cascade, config, problems


def test_one_answer_cannot_agree_with_itself():
    with pytest.raises(ValidationError) as raised:
        AppConfig.model_validate(cascade(MEMBERS | {"min_answers": 1}, TARGET))
    [sentence] = explain(raised.value, AppConfig)
    assert sentence == "cascades.default.tiers[0].min_answers: 'exact' compares answers, so at least 2 are needed."


def test_one_model_cannot_agree():
    with pytest.raises(ValidationError) as raised:
        AppConfig.model_validate(cascade(MEMBERS | {"models": ["a"]}, TARGET))
    [sentence] = explain(raised.value, AppConfig)
    assert sentence == (
        "cascades.default.tiers[0].signal: 'exact' compares answers, and there is one model. "
        "Available: chow_avg, chow_quantile, chow_sum."
    )


class TestBlend:
    ZSCORES: ClassVar[dict[str, Any]] = {name: {"mean": -1.0, "std": 0.5} for name in MEMBERS["models"]}
    BLEND: ClassVar[dict[str, Any]] = {"kind": "blend", "agreement": "rougeL", "confidence": "sure"}

    def app(self, blend: dict[str, Any], zscores: dict[str, Any]) -> AppConfig:
        signals = {"both": self.BLEND | blend, "sure": {"kind": "chow_avg", "zscores": zscores}}
        return AppConfig.model_validate(cascade(MEMBERS | {"signal": "both"}, TARGET) | {"signals": signals})

    def test_the_core_gets_both_parts(self):
        app = self.app({"weights": {"agreement": 2.0}, "logistic": True}, self.ZSCORES)
        tier, _ = app.tiers("default", [0.5])
        assert tier.blend == Blend(2.0, 1.0, 0.0, logistic=True)
        assert (tier.signal, tier.agreement, tier.token_level) == ("both", "max", False)
        answer = Generation("x", "stop", 1, 1, logprobs=(TokenLogprob("x", -0.5),))
        assert tier.confidence(MEMBERS["models"][0], answer) == 1.0
        assert "both" not in app.selectable()
        assert {"rougeL", "exact"} <= set(app.selectable())

    @pytest.mark.parametrize(
        ("blend", "zscores", "sentence"),
        [
            ({"agreement": "sure"}, ZSCORES, "signals.both.agreement: cannot be 'sure'."),
            ({"confidence": "exact"}, ZSCORES, "signals.both.confidence: cannot be 'exact'."),
            ({}, {}, "cascades.default.tiers[0].signal: 'both' has no zscores for 'a'"),
        ],
    )
    def test_what_it_is_made_of(self, blend: dict[str, Any], zscores: dict[str, Any], sentence: str):
        with pytest.raises(ValidationError) as raised:
            self.app(blend, zscores)
        assert explain(raised.value, AppConfig)[0].startswith(sentence)


class TestComposites:
    SIGNALS: ClassVar[dict[str, Any]] = {
        "both": {"kind": "mix", "parts": [{"signal": "sbert", "low": -1}, {"signal": "rougeL"}]},
        "fit": {"kind": "by_length", "cases": [{"signal": "exact", "max_characters": 9}, {"signal": "both"}]},
    }

    def test_the_scorer_offers_their_parts_and_the_router_the_rest(self):
        app = AppConfig.model_validate(cascade(MEMBERS | {"signal": "fit"}, TARGET) | {"signals": self.SIGNALS})
        assert set(app.composites()) == {"both", "fit"}
        assert {"sbert", "rougeL", "exact"} <= set(app.similarities())
        assert not set(app.composites()) & set(app.similarities())

    @pytest.mark.parametrize(
        ("name", "signal", "path"),
        [
            ("both", {"kind": "mix", "parts": [{"signal": "fit"}, {"signal": "exact"}]}, "parts[0].signal"),
            ("both", {"kind": "mix", "parts": [{"signal": "exact"}, {"signal": "chow_avg"}]}, "parts[1].signal"),
            (
                "fit",
                {"kind": "by_length", "cases": [{"signal": "fit", "max_characters": 9}, {"signal": "exact"}]},
                "cases[0].signal",
            ),
        ],
    )
    def test_what_they_are_made_of(self, name: str, signal: dict[str, Any], path: str):
        values = config() | {"signals": self.SIGNALS | {name: signal}}
        with pytest.raises(ValidationError) as raised:
            AppConfig.model_validate(values)
        assert any(
            sentence.startswith(f"signals.{name}.{path}: cannot be ") for sentence in explain(raised.value, AppConfig)
        )


class TestIsolatedSignals:
    def app(self, signal: str, **signals: Any) -> AppConfig:
        values = cascade(MEMBERS | {"signal": signal}, TARGET)
        return AppConfig.model_validate(values | {"signals": signals})

    def test_bleurt_is_deployed_apart_and_only_where_it_is_named(self):
        assert AppConfig.model_validate(config()).isolated() == {}
        app = self.app("bleurt")
        assert list(app.isolated()) == ["bleurt"]
        assert "bleurt" not in app.similarities()
        assert "bleurt" in app.selectable()
        assert ("bleurt", "hf://lucadiliello/BLEURT-20", None) in app.weights()

    def test_the_papers_own_encoder_has_a_name(self):
        app = self.app("sbert_mbert")
        assert "sbert_mbert" in app.similarities()
        assert ("sbert_mbert", "hf://google-bert/bert-base-multilingual-cased", None) in app.weights()

    def test_each_has_its_own_options(self):
        options = {"ray_actor_options": {"num_gpus": 0.5}}
        small = {"kind": "bleurt", "weights": "hf://lucadiliello/BLEURT-20-D3", "environment": "a/python"}
        app = self.app("exact", bleurt={"kind": "bleurt", "deployment": options}, small=small)
        large, small = app.isolated()["bleurt"], app.isolated()["small"]
        assert large.deployment.ray_actor_options.num_gpus == 0.5
        assert (large.runtime_env()["pip"]["packages"][0], small.runtime_env()["py_executable"]) == (
            "transformers==4.57.6",
            "a/python",
        )

    def test_which_deployments_compute_a_signal(self):
        mix = {"kind": "mix", "parts": [{"signal": "bleurt"}, {"signal": "rougeL"}]}
        app = self.app("both", both=mix)
        signals = ["bleurt", "rougeL", "both", "chow_avg"]
        assert [app.scorers(name) for name in signals] == [{"bleurt"}, {"Scorer"}, {"bleurt", "Scorer"}, set()]
        assert list(app.isolated()) == ["bleurt"]

    def test_its_deployment_needs_a_name_of_its_own(self):
        with pytest.raises(ValidationError) as raised:
            self.app("Scorer", Scorer={"kind": "bleurt"})
        [sentence] = explain(raised.value, AppConfig)
        assert sentence.startswith("signals.Scorer: this signal runs in a deployment of its own, and another has")


class TestSignals:
    def test_the_users_own_come_before_the_built_in(self):
        app = AppConfig.model_validate(config(signals={"exact": {"kind": "bleu"}, "mine": {"kind": "rouge1"}}))
        assert app.all_signals()["exact"].kind == "bleu"
        assert app.similarities()["mine"].kind == "rouge1"

    def test_sbert_is_only_loaded_where_it_is_named(self):
        assert "sbert" not in AppConfig.model_validate(config()).similarities()
        named = cascade(MEMBERS | {"signal": "sbert"}, TARGET)
        assert "sbert" in AppConfig.model_validate(named).similarities()
        assert set(AppConfig.model_validate(config()).similarities()) == {
            "exact",
            "bleu",
            "rouge1",
            "rouge2",
            "rougeL",
            "chrf",
            "json",
        }

    def test_unknown_options_of_a_signal(self):
        assert problems(AppConfig, config(signals={"mine": {"kind": "chow_sum", "q": 0.5}})) == [
            "signals.mine: q has no meaning with 'chow_sum', only with 'chow_quantile'."
        ]
