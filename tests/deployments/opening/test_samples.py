"""Self-consistency in the router: samples by their own names, their model's deployment, price and protection."""

from typing import Any

import pytest

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.ask import Ask
from serve_app.config import AppConfig
from serve_app.core.record import DecisionRecord
from serve_app.core.types.answer import Failure, Generation
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.core.types.scores import Scores
from serve_app.deployments.router import Router
from serve_app.errors import OverloadedError, RequestError, UnknownModelError
from serve_app.planning.capacity import assume, capacity
from serve_app.planning.speeds import speeds_of
from tests.deployments.replies import answered
from tests.deployments.unasked import router_of

HI = (Message("user", "Hi"),)
MODELS: dict[str, Any] = {
    "q": {"engine": "replay", "parameters": 1e9, "slots": 4},
    "t": {"engine": "replay", "parameters": 1e10},
}
SAMPLES = {"model": "q", "samples": 3, "temperature": 0.7}
TIERS = [{"models": [SAMPLES], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]
CONFIG: dict[str, Any] = {"models": MODELS, "cascades": {"default": {"tiers": TIERS}}, "router": {"max_waiting": 0}}


class Replica:
    """A model's deployment, which notes what it is asked; its answer is the seed, or a failure."""

    def __init__(self, failure: Failure | None = None) -> None:
        self.failure = failure
        self.requests: list[Sampling] = []

    def options(self, **_: Any) -> "Replica":
        return self

    async def remote(self, prompt: Prompt, **_: Any) -> Any:
        self.requests.append(prompt.sampling)
        return self.failure or Generation(str(prompt.sampling.seed), "stop", 10, 2, latency_s=1.0)


class Scorer(Replica):
    async def remote(self, signal: Any, texts: Any = (), **_: Any) -> Any:
        return Scores(tuple(tuple(float(a == b) for b in texts) for a in texts))


def routed(q: Replica, t: Replica) -> Router:
    handles: dict[str, Any] = {"q": q, "t": t}
    scorer: Any = Scorer()
    return Router(AppConfig.model_validate(CONFIG), handles, scorer, {})


async def served(router: Router, sampling: Sampling) -> DecisionRecord:
    options = CascadeOptions(include_answers=True)
    return await answered(router, Ask("default", Prompt(HI, sampling=sampling), options))


async def test_every_sample_is_a_member_with_its_models_price() -> None:
    q, t = Replica(), Replica()
    record = await served(routed(q, t), Sampling(temperature=0.0, seed=7))
    assert q.requests == [Sampling(temperature=0.7, seed=seed, sample=seed - 6) for seed in (7, 8, 9)]
    assert t.requests == [Sampling(temperature=0.0, seed=7)]
    assert (record.deferred, record.answered_by) == (True, "t")
    assert list(record.models) == ["q#1", "q#2", "q#3", "t"]
    assert [tier.models for tier in record.tiers] == [("q#1", "q#2", "q#3"), ("t",)]
    assert [answer and answer.text for answer in record.tiers[0].answers or ()] == ["7", "8", "9"]
    # 2 FLOPs a parameter and token: 3 samples of 12 tokens on 1e9, 12 tokens on 1e10.
    assert record.cost.flops == 2 * (3 * 12 * 1e9 + 12 * 1e10)


async def test_clients_ask_for_models_not_for_samples() -> None:
    router = router_of(MODELS, CONFIG["cascades"])
    assert [card.id for card in router.cards()] == ["default", "q", "t"]
    with pytest.raises(UnknownModelError):
        router.open(Ask("q#1", Prompt(HI)))


async def test_three_samples_take_three_places_at_their_model() -> None:
    router = routed(Replica(), Replica())
    request = router.open(Ask("default", Prompt(HI)))
    router.open(Ask("q", Prompt(HI)))
    # Four slots, and nobody may wait.
    with pytest.raises(OverloadedError, match="has 4 requests"):
        router.open(Ask("q", Prompt(HI)))
    request.close(None)
    for _ in range(3):
        router.open(Ask("q", Prompt(HI)))
    with pytest.raises(OverloadedError):
        router.open(Ask("q", Prompt(HI)))


async def test_failures_of_all_samples_count_for_the_one_model() -> None:
    q = Replica(Failure("unavailable", "Gone."))
    router = routed(q, Replica())
    await served(router, Sampling())
    assert router.parts.protection.breakers["q"].failures == 3
    assert set(router.parts.protection.breakers) == {"q", "t", "Scorer", "Router"}


@pytest.mark.parametrize(("samples", "cacheable"), [(SAMPLES, False), ({"model": "q", "samples": 1}, True)])
async def test_what_was_drawn_at_random_is_not_kept(samples: dict[str, Any], cacheable: bool) -> None:
    api = {"engine": "openai_api", "model": "x", "base_url": "http://127.0.0.1:1/v1", "keyless": True}
    tier = {"models": [samples, "t"], "signal": "exact", "threshold": 0.5}
    cascade = {"tiers": [tier, {"models": ["u"]}], "cache": {}}
    router = router_of({"q": api, "t": MODELS["t"], "u": MODELS["t"]}, {"default": cascade})
    greedy = Prompt(HI, sampling=Sampling(temperature=0.0))
    ask = Ask("default", greedy)
    assert (router.open(ask).turn is not None) == cacheable


async def test_what_the_model_cannot_do_is_refused_by_its_name() -> None:
    api = {"engine": "openai_api", "model": "x", "base_url": "http://127.0.0.1:1/v1", "keyless": True}
    router = router_of(MODELS | {"q": api}, CONFIG["cascades"])
    with pytest.raises(RequestError, match=r"^logprobs: 'q' cannot give log-probabilities\.$"):
        router.open(Ask("default", Prompt(HI, sampling=Sampling(logprobs=True))))


def test_a_plan_counts_three_requests_of_the_model() -> None:
    args = AppConfig.model_validate(CONFIG)
    speeds = speeds_of(args, [f"{name}={{step_s: 0.01, sequence_s: 0, prompt_token_s: 0}}" for name in ("q", "t")])
    plan = capacity(args, args.deployments(), assume(args, "default", 10, deferral_rate=0.5), speeds)
    visits = {station.name: station.visits for station in plan.stations}
    assert (visits["q"], visits["t"], visits["Scorer"]) == (3, 0.5, 1)
