"""What models cost, and adapters at the price of their base."""

from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from serve_app.config import (
    AppConfig,
    ModelFacts,
    Seq2SeqModel,
)
from serve_app.core.cost import ModelCost
from tests.config.values import config, problems


def test_costs():
    assert ModelFacts(parameters=8e9, input_usd=1, output_usd=2, devices=3).cost() == ModelCost(8e9, 1, 2, 3)
    assert ModelFacts(parameters=8e9, active_parameters=1e9).cost() == ModelCost(1e9)
    assert ModelFacts().cost() == ModelCost(None)
    assert ModelFacts(usd_per_device_hour=2).cost() == ModelCost(None, usd_per_device_hour=2)


def test_an_encoder_reads_and_a_decoder_writes():
    values = {"engine": "seq2seq", "weights": "hf://google/flan-t5-large", "encoder_parameters": 3e8}
    assert Seq2SeqModel.model_validate(values | {"parameters": 8e8}).cost() == ModelCost(5e8, prompt_parameters=3e8)
    with pytest.raises(ValidationError, match="encoder_parameters: must be less than parameters"):
        Seq2SeqModel.model_validate(values | {"parameters": 3e8})


class TestAdapters:
    BASE: ClassVar = {"engine": "vllm", "weights": "hf://org/base", "parameters": 7e9, "input_usd": 3, "devices": 2}
    ADAPTER: ClassVar = {"engine": "vllm_lora", "base": "t", "weights": "hf://org/adapter"}

    def app(self, **models: Any) -> AppConfig:
        """Return a configuration whose target is an adapter of a member."""
        models = config()["models"] | {"a": self.BASE, "t": self.ADAPTER | {"base": "a"}} | models
        return AppConfig.model_validate(config(models=models))

    def test_size_and_prices_are_the_bases_unless_said(self):
        assert self.app().models["t"].cost() == ModelCost(7e9, 3, None, 2)
        config_app = self.app(t=self.ADAPTER | {"base": "a", "parameters": 7.1e9, "output_usd": 1})
        assert config_app.models["t"].cost() == ModelCost(7.1e9, 3, 1, 2)

    def test_the_bases_deployment_serves_it(self):
        args = self.app()
        assert (args.served_by("t"), args.served_by("a")) == ("a", "a")
        assert args.deployed().keys() == {"a", "b", "c"}
        assert args.deployments().keys() == {"a", "b", "c", "Scorer", "Router"}
        assert args.adapters("a") == {"t": args.models["t"]}
        assert args.adapters("b") == {}

    def test_its_weights_are_fetched(self):
        assert self.app().weights() == [("a", "hf://org/base", None), ("t", "hf://org/adapter", None)]

    def test_weights_may_be_a_list_of_sources(self):
        app = self.app(t=self.ADAPTER | {"base": "a", "weights": ["hf://org/adapter", "/models/adapter"]})
        assert app.weights()[1] == ("t", ("hf://org/adapter", "/models/adapter"), None)

    def test_what_is_deferred_to_it_scales_its_base(self):
        scaling = {"autoscaling_config": {"max_replicas": 3}}
        args = self.app(a=self.BASE | {"deployment": scaling})
        assert args.later_models() == {"a"}
        router = args.deployments()["Router"].autoscaling_config
        assert router is not None
        assert (router.min_replicas, router.max_replicas) == (1, 1)

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"base": "z"}, "base: no model 'z'; an adapter's base has engine: vllm. Available: b."),
            ({"base": "c"}, "base: 'c' has engine: replay; an adapter's base has engine: vllm. Available: b."),
            ({"base": "a"}, "base: 'a' has engine: vllm_lora; an adapter's base has engine: vllm. Available: b."),
            (
                {"base": "b", "deployment": {"num_replicas": 2}},
                "deployment: an adapter has none of its own; set it at its base, whose replicas answer for it.",
            ),
            ({"base": "b", "max_tokens": 5}, "max_tokens: unknown key. Available: "),
        ],
    )
    def test_what_is_refused(self, values: dict[str, Any], sentence: str):
        models = config()["models"] | {"b": self.BASE, "a": self.ADAPTER | {"base": "b"}, "t": self.ADAPTER | values}
        [got] = problems(AppConfig, config(models=models))
        assert got.startswith(f"models.t.{sentence}")
