"""Cascades with a cache, as the router serves them; without a cluster."""

import asyncio
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.ask import Ask
from serve_app.api.intake.caller import Caller
from serve_app.api.routes import build_api
from serve_app.config import AppConfig
from serve_app.core.record import DecisionRecord
from serve_app.core.running.cascade import outcome_of
from serve_app.core.types.answer import Answer, Failure
from serve_app.core.types.outcome import Cached
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.deployments.observing.metrics import CACHE, DECISIONS, Metric
from serve_app.deployments.request import RequestInProgress
from serve_app.deployments.router import Router
from serve_app.errors import OverloadedError
from tests.api.serving import listening, until
from tests.deployments.replies import LONG, MEMBERS, MODELS, PARIS, QUESTION, ROME, Deployment

TIERS = [MEMBERS, {"models": ["t"]}]
GREEDY = Prompt(QUESTION.messages, sampling=Sampling(temperature=0.0))


class Counting(Deployment):
    """Notes how often it is asked; with `gate`, answers once that is set."""

    def __init__(self, answer: Answer, calls: list[str], name: str) -> None:
        super().__init__(answer)
        self.name = name
        self.calls = calls
        self.gate: asyncio.Event | None = None

    async def remote(self, *arguments: Any, **options: Any) -> Any:
        if not isinstance(arguments[0], str):
            self.calls.append(self.name)
            if self.gate is not None:
                await self.gate.wait()
        return await super().remote(*arguments, **options)


class Served:
    """A router over counting models: `default` has a cache, `plain` has none."""

    def __init__(self, models: dict[str, Any] = MODELS, b: Answer = ROME, **options: Any) -> None:
        cached = {"tiers": TIERS, "cache": {"ttl_s": 60}} | options
        config = {"models": models, "cascades": {"default": cached, "plain": {"tiers": TIERS}}}
        config |= {"router": {"max_waiting": 0}}
        answers = {"a": PARIS, "b": b, "c": ROME, "d": ROME, "t": LONG}
        self.calls: list[str] = []
        self.handles: dict[str, Any] = {name: Counting(answers[name], self.calls, name) for name in models}
        self.router = Router(AppConfig.model_validate(config), self.handles, self.handles["a"], {})
        self.measures: list[tuple[str, ...]] = []
        self.router.parts.instruments.record = self._record  # type: ignore[method-assign]

    def _record(self, metric: Metric, value: float, *labels: str) -> None:
        self.measures.append((metric.name, *labels))

    async def ask(
        self, prompt: Prompt = QUESTION, model: str = "default", key: str | None = None, **options: Any
    ) -> DecisionRecord:
        chosen = CascadeOptions(**options)
        ask = await self.router.recall(Ask(model, prompt, chosen, caller=Caller(key)))
        request = self.router.open(ask)
        return request.close(await outcome_of(request.events()))

    def cache_results(self) -> list[str]:
        return [labels[-1] for name, *labels in self.measures if name == CACHE.name]


async def test_a_second_equal_request_asks_nobody_and_costs_nothing() -> None:
    served = Served()
    first, second = await served.ask(), await served.ask()
    assert sorted(served.calls) == ["a", "b", "t"]
    assert (first.cached, first.cost.flops) == (None, 2e9 * (12 + 12 + 15))
    assert second.cached is not None
    assert 0 <= second.cached.age_s < 60
    assert (second.answered_by, second.deferred, second.reason, second.tiers) == (
        "t",
        True,
        "disagreement",
        first.tiers,
    )
    assert (second.models, second.timings.tiers, second.timings.scoring) == ({}, (), 0)
    assert (second.cost.flops, second.cost.device_s, second.cost.target_only) == (0, 0, first.cost.target_only)
    assert served.cache_results() == ["miss", "hit"]
    assert len([name for name, *_ in served.measures if name == DECISIONS.name]) == 1


async def test_an_answer_is_kept_for_the_key_that_asked() -> None:
    served = Served()
    records = [await served.ask(key=key) for key in ("alice", "bob", None, "alice", "bob", None)]
    assert [record.cached is not None for record in records] == [False] * 3 + [True] * 3
    assert [record.caller for record in records] == ["alice", "bob", None] * 2


async def test_requests_of_two_keys_share_no_run() -> None:
    served = Served()
    gate = served.handles["a"].gate = asyncio.Event()
    asking = [asyncio.create_task(served.ask(key=key)) for key in ("alice", "alice", "bob")]
    await until(lambda: served.calls.count("a") == 2)
    gate.set()
    await asyncio.gather(*asking)
    assert sorted(served.cache_results()) == ["miss", "miss", "shared"]


async def test_an_accepted_answer_is_kept_too() -> None:
    served = Served(b=PARIS)
    first, second = await served.ask(), await served.ask(include_answers=True)
    assert (second.answered_by, second.deferred, len(served.calls)) == ("a", False, 2)
    assert [answer and answer.text for answer in second.tiers[0].answers or ()] == ["Paris", "Paris"]
    assert second.cost.target_only is not None
    assert first.cost.target_only is not None
    assert second.cost.target_only.flops == first.cost.target_only.flops


@pytest.mark.parametrize("options", [{"threshold": 0.25}, {"force": "accept"}, {"signal": "bleu"}, {"compare": {}}])
async def test_what_a_request_decides_otherwise_is_kept_by_itself(options: dict[str, Any]) -> None:
    served = Served()
    records = [await served.ask(**chosen) for chosen in ({}, options, options, {})]
    assert [record.cached is not None for record in records] == [False, False, True, True]


async def test_another_policy_in_force_makes_other_answers() -> None:
    served = Served(b=PARIS)
    in_force: list[dict[str, Any]] = [
        {},
        {"thresholds": {"default": [0.9]}},
        {"calibrations": {"default": {"id": "c1", "thresholds": [0.5]}}},
        {},
    ]
    cached = []
    for user_config in in_force:
        served.router.reconfigure(user_config)
        cached.append((await served.ask()).cached is not None)
    assert cached == [False, False, False, True]


@pytest.mark.parametrize("drawn", [{"temperature": 0.7}, {"temperature": 0.7, "seed": 1}, {"top_p": 0.0}, {}])
async def test_what_is_drawn_at_random_is_neither_kept_nor_shared(drawn: dict[str, Any]) -> None:
    models = MODELS | {"t": {"engine": "seq2seq", "weights": "./t5", "temperature": 1.0}}
    served = Served(models)
    prompt = Prompt(QUESTION.messages, sampling=Sampling(**drawn))
    records = [await served.ask(prompt) for _ in range(2)]
    assert [record.cached for record in records] == [None, None]
    assert (len(served.calls), served.cache_results()) == (6, ["uncacheable"] * 2)


async def test_what_would_be_drawn_is_kept_if_the_request_says_temperature_0() -> None:
    served = Served(MODELS | {"t": {"engine": "seq2seq", "weights": "./t5", "temperature": 1.0}})
    records = [await served.ask(GREEDY) for _ in range(2)]
    assert [record.cached is not None for record in records] == [False, True]


async def test_a_request_may_ask_for_an_answer_of_its_own() -> None:
    served = Served()
    records = [await served.ask(cache=cache) for cache in (False, True, False, True)]
    assert [record.cached is not None for record in records] == [False, False, False, True]
    assert served.cache_results() == ["uncacheable", "miss", "uncacheable", "hit"]
    assert (await served.ask(model="t", cache=False)).answered_by == "t"  # it decides nothing


async def test_a_cascade_without_a_cache_and_a_single_model_keep_nothing() -> None:
    served = Served()
    for model in ("plain", "plain", "t", "t"):
        assert (await served.ask(model=model)).cached is None
    assert (len(served.calls), served.cache_results()) == (8, [])


async def test_a_failure_is_not_kept() -> None:
    served = Served()
    served.handles["t"].answer = Failure("error", "Broken.")
    await served.ask()
    served.handles["t"].answer = LONG
    record = await served.ask()
    assert (record.cached, record.answered_by) == (None, "t")


async def test_the_best_members_answer_in_the_targets_place_is_not_kept() -> None:
    served = Served(on_target_failure="best_member")
    served.handles["t"].answer = Failure("error", "Broken.")
    assert (await served.ask()).replaced is not None
    served.handles["t"].answer = LONG
    record = await served.ask()
    assert (record.cached, record.answered_by) == (None, "t")


async def test_a_kept_deferral_makes_its_conversation_stay_with_the_target() -> None:
    served = Served(stickiness="escalate")
    await served.ask()
    second = await served.ask(session="s")
    third = await served.ask(session="s")
    fourth = await served.ask(session="s")
    assert (second.cached is not None, second.reason) == (True, "disagreement")
    assert (third.cached, third.reason) == (None, "session")
    assert (fourth.cached is not None, fourth.reason) == (True, "session")


async def test_a_kept_answer_needs_no_room_at_a_model() -> None:
    served = Served()
    await served.ask()
    other_prompt = Prompt((Message("user", "Else?"),))
    requests = [served.router.open(Ask("plain", other_prompt)) for _ in range(64)]  # all slots
    with pytest.raises(OverloadedError):
        await served.ask(other_prompt)
    assert (await served.ask()).cached is not None
    for request in requests:
        request.close(None)
    assert (await served.ask(other_prompt)).cached is None


async def test_only_requests_with_a_run_of_their_own_count_as_load(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served()
    arrivals: list[Any] = []
    monkeypatch.setattr(served.router.parts.demand, "arrived", arrivals.append)
    monkeypatch.setattr(served.router.parts.demand, "finished", lambda *reached: arrivals.append(reached))
    for _ in range(2):
        await served.ask()
    assert arrivals == ["default", ("default", 2)]


async def test_a_request_that_comes_as_its_answer_expires_has_room_for_its_run() -> None:
    served = Served()
    times = [0.0]  # of the cache's clock, one after another; the last one stays
    served.router.parts.cache._answers["default"]._store._clock = lambda: times.pop(0) if times[1:] else times[0]
    await served.ask()
    times[:] = [59.0, 60.0]
    request = served.router.open(Ask("default", QUESTION))
    assert served.router.parts.protection.loads["a"].in_progress == 1
    request.close(None)


async def test_equal_requests_take_one_place_and_make_one_run() -> None:
    served = Served()
    gate = served.handles["t"].gate = asyncio.Event()
    tasks = [asyncio.create_task(served.ask()) for _ in range(100)]  # more than the members take
    await until(lambda: "t" in served.calls)
    gate.set()
    records = await asyncio.gather(*tasks)
    assert sorted(served.calls) == ["a", "b", "t"]
    assert [record.cached for record in records] == [None, *[Cached(0.0, shared=True)] * 99]
    assert served.router.parts.protection.loads["a"].in_progress == 0
    assert sorted(served.cache_results()) == ["miss", *["shared"] * 99]


async def test_a_request_that_takes_another_s_place_takes_its_room_too() -> None:
    served = Served()
    served.handles["a"].gate = asyncio.Event()
    first = served.router.open(Ask("default", QUESTION))
    second = served.router.open(Ask("default", QUESTION))
    load = served.router.parts.protection.loads["a"]
    assert load.in_progress == 1
    first.close(None)
    assert load.in_progress == 0
    async with aclosing(second.events()) as events:
        task = asyncio.ensure_future(anext(events))
        await until(lambda: "a" in served.calls)
        assert load.in_progress == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    second.close(None)
    assert load.in_progress == 0


ASK = {"model": "default", "messages": [{"role": "user", "content": "Capital of France?"}]}
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": ASK,
    "/v1/responses": {"model": "default", "input": "Capital of France?"},
    "/v1/messages": ASK | {"max_tokens": 512},
}


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
async def http(served: Served) -> Any:
    transport = httpx.ASGITransport(build_api(served.router))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
async def test_a_second_equal_request_is_answered_by_every_api(
    path: str, served: Served, http: httpx.AsyncClient
) -> None:
    first, second = [(await http.post(path, json=PATHS[path])).json() for _ in range(2)]
    assert len(served.calls) == 3
    assert "cached" not in first["cascade"]
    assert second["cascade"]["cached"]["age_s"] >= 0
    assert second["cascade"]["cost"]["flops"] == 0
    assert (second["cascade"]["models"], second["cascade"]["answered_by"]) == ({}, "t")
    spent = {name: value for name, value in second["usage"].items() if name in ("prompt_tokens", "input_tokens")}
    assert set(spent.values()) == {10}  # those of the answer, not of all models


async def test_a_stream_is_answered_from_a_plain_request(served: Served, http: httpx.AsyncClient) -> None:
    await http.post("/v1/chat/completions", json=ASK)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = (await http.post("/v1/chat/completions", json=ASK | options)).text
    assert len(served.calls) == 3
    assert streamed.count("It is Paris.") == 1
    assert '"completion_tokens":5' in streamed
    assert '"cached":{"age_s":' in streamed
    assert streamed.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize(
    ("headers", "cached"),
    [
        ({"cache-control": "no-cache"}, False),
        ({"cache-control": "max-age=0, No-Store"}, False),
        ({"cache-control": "max-age=60"}, True),
        ({}, True),
    ],
)
async def test_http_s_own_header_asks_for_an_answer_of_its_own(
    headers: dict[str, str], cached: bool, http: httpx.AsyncClient
) -> None:
    await http.post("/v1/chat/completions", json=ASK)
    body = (await http.post("/v1/chat/completions", json=ASK, headers=headers)).json()
    assert ("cached" in body["cascade"]) == cached


async def test_equal_prompts_of_one_request_share_a_run(served: Served, http: httpx.AsyncClient) -> None:
    body = (await http.post("/v1/completions", json={"model": "default", "prompt": ["x", "x", "y"]})).json()
    assert len(served.calls) == 6
    assert [record.get("cached") for record in body["cascade"]] == [None, {"age_s": 0.0, "shared": True}, None]
    assert body["usage"]["completion_tokens"] == 2 * (2 + 2 + 5) + 5


async def test_if_the_first_client_leaves_the_next_one_is_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[RequestInProgress] = []
    open_request = served.router.open

    def noted(ask: Ask) -> RequestInProgress:
        opened.append(open_request(ask))
        return opened[-1]

    monkeypatch.setattr(served.router, "open", noted)
    gate = served.handles["t"].gate = asyncio.Event()
    path = "/v1/chat/completions"
    async with listening(served.router) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        first = asyncio.create_task(client.post(path, json=ASK))
        await until(lambda: "t" in served.calls)
        second = asyncio.create_task(client.post(path, json=ASK))
        await until(lambda: len(opened) == 2)
        first.cancel()
        await until(lambda: served.calls.count("t") == 2)
        gate.set()
        body = (await second).json()
    assert body["choices"][0]["message"]["content"] == "It is Paris."
    assert "cached" not in body["cascade"]
    assert served.cache_results() == ["miss", "miss"]
