"""LoRA adapters are asked at their base's deployment, under names of their own."""

from typing import Any

import pytest

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.ask import Ask
from serve_app.config import AppConfig
from serve_app.core.running.cascade import run_cascade
from serve_app.core.tools import Tool
from serve_app.core.types.answer import Generation
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.core.types.scores import Scores
from serve_app.deployments.protecting.liveness import Health
from serve_app.deployments.router import Router
from serve_app.errors import RequestError

BASE = {"engine": "vllm", "weights": "hf://org/base", "parameters": 1e9, "tool_call_parser": "hermes"}
ADAPTER = {"engine": "vllm_lora", "base": "base", "weights": "hf://org/adapter"}
ADAPTED_TIERS = [{"models": ["base", "sql"], "signal": "exact", "threshold": 0.5}, {"models": ["law"]}]


class Adapted:
    """A handle whose replica says whom it was asked as."""

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []

    def options(self, **_: Any) -> "Adapted":
        return self

    async def remote(self, *arguments: Any, **named: str) -> Any:
        if isinstance(arguments[0], str):
            return Scores(((1.0, 0.0), (0.0, 1.0)), 0.0)
        self.requests.append(named)
        return Generation(named.get("adapter", "itself"), "stop", 10, 2, latency_s=3.0)


def adapters(**base: Any) -> AppConfig:
    models = {"base": BASE | base, "sql": ADAPTER, "law": ADAPTER}
    return AppConfig.model_validate({"models": models, "cascades": {"default": {"tiers": ADAPTED_TIERS}}})


def of_adapters(config: AppConfig, deployment: Any) -> Router:
    return Router(config, {"base": deployment}, deployment, {})


async def test_a_request_goes_to_the_base_with_the_adapters_name() -> None:
    deployment = Adapted()
    router = of_adapters(adapters(), deployment)
    request = router.open(Ask("default", Prompt((Message("user", "Hi"),)), CascadeOptions(force="defer")))
    outcome = await run_cascade(request.run)
    assert isinstance(outcome, Outcome)
    assert deployment.requests == [{}, {"adapter": "sql"}, {"adapter": "law"}]
    record = request.close(outcome)
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
    assert of_adapters(adapters(), Adapted()).open(Ask("sql", prompt)).run.prompt == prompt
    with pytest.raises(RequestError, match="tools are not honoured by 'base', 'sql', 'law'"):
        of_adapters(adapters(tool_call_parser=None), Adapted()).open(Ask("default", prompt))


@pytest.mark.parametrize(
    ("running", "waiting"), [(1, []), (0, ["cascades.default.tiers[0]", "cascades.default.tiers[1]"])]
)
def test_it_is_ready_when_its_base_is(running: int, waiting: list[str]) -> None:
    up = Health(1, "HEALTHY")
    health = {"base": Health(running, "UPDATING"), "Scorer": up, "Router": up}
    readiness = of_adapters(adapters(), Adapted()).parts.readiness.of(health)
    assert readiness.details["waiting_for"] == waiting


def test_its_card() -> None:
    cards = {card.id: card for card in of_adapters(adapters(), Adapted()).cards()}
    assert cards["sql"].details == {"engine": "vllm_lora", "parameters": 1e9}
