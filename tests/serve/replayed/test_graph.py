"""The whole graph on real Ray Serve, over HTTP, with scripted models: what no real model does on demand."""

import asyncio
import gzip
import json
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.patience import PATIENCE_S
from tests.serve.conftest import Served, until
from tests.serve.replayed.taped import TIERS

pytestmark = pytest.mark.serve


def ask(text: str, **options: Any) -> dict[str, Any]:
    return {"model": "default", "messages": [{"role": "user", "content": text}]} | options


async def test_agreeing_answers_go_back(client: openai.AsyncOpenAI) -> None:
    response = await client.chat.completions.create(**ask("Capital of France?"))
    record = response.model_extra["cascade"]
    assert response.choices[0].message.content == "The capital is Paris."
    assert (record["deferred"], record["answered_by"], record["reason"]) == (False, "first", "agreement")
    assert record["tiers"][0]["similarities"] == [[1, 1], [1, 1]]
    assert set(record["models"]) == {"first", "second"}
    # 3 prompt words and 4 words of answer each: 2 x (1e9 + 2e9) x 7
    assert record["cost"]["flops"] == 2 * 3e9 * 7
    assert record["cost"]["target_only"]["flops"] == 2 * 30e9 * 7


async def test_others_are_deferred(client: openai.AsyncOpenAI) -> None:
    response = await client.chat.completions.create(**ask("How many?"))
    record = response.model_extra["cascade"]
    assert response.choices[0].message.content == "From the target."
    assert (record["deferred"], record["answered_by"], record["reason"]) == (True, "target", "disagreement")
    assert record["tiers"][0]["agreement"] == 0.75  # 3 of 4 words in common
    assert response.usage.completion_tokens == 4 + 4 + 3
    assert record["cost"]["usd"] == pytest.approx(3 * 2.0 / 1e6)


async def test_streams_the_targets_tokens(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        **ask("How many?"), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(deltas) > 1
    assert "".join(deltas) == "From the target."
    assert [("cascade" in (chunk.model_extra or {})) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage.total_tokens == 3 * 2 + 4 + 4 + 3


async def test_tool_calls_agree_and_go_back(client: openai.AsyncOpenAI) -> None:
    tools = [{"type": "function", "function": {"name": "get_weather"}}]
    fields = ask("The weather in Paris?", tools=tools, tool_choice="required")
    body = {"cascade": {"signal": "json"}}
    response = await client.chat.completions.create(**fields, extra_body=body)
    [choice] = response.choices
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
    assert [call.function.arguments for call in choice.message.tool_calls] == ['{"city": "Paris"}']
    assert response.model_extra["cascade"]["answered_by"] == "first"
    stream = await client.chat.completions.create(**fields, extra_body=body, stream=True)
    deltas = [chunk.choices[0].delta async for chunk in stream]
    assert [bool(delta.tool_calls) for delta in deltas] == [False, True, False]


async def test_responses_go_on_from_one_another(client: openai.AsyncOpenAI) -> None:
    tools: Any = [{"type": "function", "name": "get_weather", "parameters": None, "strict": False}]
    fields: dict[str, Any] = {"model": "default", "tools": tools, "extra_body": {"cascade": {"signal": "json"}}}
    first = await client.responses.create(input="The weather in Paris?", tool_choice="required", **fields)
    [call] = first.output
    assert (call.type, call.arguments, first.model_extra["cascade"]["deferred"]) == (
        "function_call",
        '{"city": "Paris"}',
        False,
    )
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"}
    question: Any = {"role": "user", "content": "How many?"}
    async with client.responses.stream(
        input=[result, question], previous_response_id=first.id, tool_choice="none", **fields
    ) as stream:
        second = await stream.get_final_response()
    assert (second.output_text, second.model_extra["cascade"]["answered_by"]) == ("From the target.", "target")
    assert (await client.responses.retrieve(second.id)).output_text == second.output_text


async def test_messages_of_anthropics_client(replayed: Served) -> None:
    async with anthropic.AsyncAnthropic(base_url=replayed.url, api_key="none", max_retries=0) as claude:
        fields: Any = {"model": "default", "max_tokens": 50, "messages": [{"role": "user", "content": "How many?"}]}
        whole = await claude.messages.create(**fields)
        async with claude.messages.stream(**fields) as stream:
            streamed = await stream.get_final_message()
        assert [block.text for block in streamed.content] == [block.text for block in whole.content]
        assert (whole.content[0].text, whole.cascade["answered_by"]) == ("From the target.", "target")
        with pytest.raises(anthropic.NotFoundError) as caught:
            await claude.messages.create(**fields | {"model": "defualt"})
        assert caught.value.request_id == caught.value.response.headers["x-request-id"]


async def test_a_failed_member_is_a_reason_to_defer(client: openai.AsyncOpenAI) -> None:
    response = await client.chat.completions.create(**ask("one member breaks"))
    record = response.model_extra["cascade"]
    assert (record["reason"], record["answered_by"]) == ("too_few_answers", "target")
    assert record["models"]["first"]["message"] == "The member broke."


async def test_a_member_that_no_longer_matters_is_stopped(client: openai.AsyncOpenAI, replayed: Served) -> None:
    """One member fails at once, so the other's answer, two minutes away, could not be accepted any more."""
    response = await client.chat.completions.create(**ask("one waits"))
    record = response.model_extra["cascade"]
    assert (record["reason"], record["answered_by"]) == ("too_few_answers", "target")
    assert record["models"]["second"]["status"] == "cancelled"
    assert record["models"]["second"]["estimated"] is record["cost"]["estimated"] is True
    await until(lambda: replayed.active("second"), [0])


async def test_a_failed_target_is_an_error(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match="The model 'target' failed: The target broke"):
        await client.chat.completions.create(**ask("all break"))


async def test_or_the_best_member_stands_in_for_it(client: openai.AsyncOpenAI) -> None:
    forced = {"cascade": {"force": "defer"}}
    response = await client.chat.completions.create(**ask("the target fails", model="forgiving"), extra_body=forced)
    record = response.model_extra["cascade"]
    assert response.choices[0].message.content == "The answer is one."
    assert record["answered_by"] == "first"
    assert record["replaced"] == {"model": "target", "kind": "error", "message": "The target broke."}


async def test_single_models_are_served_under_their_own_names(client: openai.AsyncOpenAI) -> None:
    response = await client.chat.completions.create(**ask("How many?", model="second"))
    assert response.choices[0].message.content == "The answer is two."
    assert response.model_extra["cascade"]["deferred"] is False
    cascades = ["ahead", "bleurt", "blended", "confident", "default", "forgiving", "inner", "left", "lexical"]
    models = ["first", "narrow", "odd", "second", "target", "whole"]
    assert [model.id async for model in client.models.list()] == [
        *sorted([*cascades, "observed", "outer", "shed-calibrated", "shed-members", "stood-in", "with-bleurt", *TIERS]),
        *models,
    ]


async def test_a_request_may_change_how_it_is_decided(client: openai.AsyncOpenAI) -> None:
    changed = {"threshold": 0.7, "signal": "rouge1", "include_answers": True}
    response = await client.chat.completions.create(**ask("How many?"), extra_body={"cascade": changed})
    tier = response.model_extra["cascade"]["tiers"][0]
    assert (tier["signal"], tier["threshold"], tier["accepted"]) == ("rouge1", 0.7, True)
    assert tier["answers"] == ["The answer is one.", "The answer is two."]


async def test_a_mix_of_signals(client: openai.AsyncOpenAI) -> None:
    response = await client.chat.completions.create(**ask("How many?"), extra_body={"cascade": {"signal": "mixed"}})
    # (3 x 3/4 of the words + nothing for not being equal) / 4
    assert response.model_extra["cascade"]["tiers"][0]["agreement"] == pytest.approx(0.5625)


async def test_a_token_level_ensemble(client: openai.AsyncOpenAI) -> None:
    record = (await client.chat.completions.create(**ask("sure?", model="confident"))).model_extra["cascade"]
    # Chow-Avg is -.3 for both: 2 and .5 standard deviations above what is usual for them
    assert record["tiers"][0]["output_scores"] == [pytest.approx(2.0), pytest.approx(0.5)]
    assert record["tiers"][0]["agreement"] == pytest.approx(1.25)
    assert (record["answered_by"], record["reason"]) == ("first", "confident")


async def test_agreement_and_confidence_blended(client: openai.AsyncOpenAI) -> None:
    record = (await client.chat.completions.create(**ask("sure?", model="blended"))).model_extra["cascade"]
    assert record["tiers"][0]["similarities"] == [[1, 1], [1, 1]]
    assert record["tiers"][0]["output_scores"] == [pytest.approx(3.0), pytest.approx(1.5)]
    assert (record["answered_by"], record["tiers"][0]["agreement"]) == ("first", pytest.approx(3.0))


@pytest.mark.parametrize("question", ["slow start", "slow"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_the_members(replayed: Served, question: str, stream: bool) -> None:
    async with httpx.AsyncClient(base_url=replayed.url, timeout=None) as http:
        body = ask(question, stream=stream)
        request = asyncio.create_task(http.post("/v1/chat/completions", json=body))
        await until(lambda: replayed.active("first", "second"), [1, 1])
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
    await until(lambda: replayed.active("first", "second"), [0, 0])


async def test_a_client_that_leaves_the_stream_frees_the_target(replayed: Served, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(**ask("a long target please"), stream=True)
    for _ in range(5):
        await anext(stream)
    assert await replayed.active("target") == [1]
    await stream.close()
    await until(lambda: replayed.active("target"), [0])
    assert (await replayed.counters("target")).completion_tokens < 1000


async def test_what_would_only_wait_is_refused_at_once(client: openai.AsyncOpenAI, replayed: Served) -> None:
    tasks = [asyncio.create_task(client.chat.completions.create(**ask("Who waits?", model="narrow"))) for _ in range(6)]
    refused: set[asyncio.Task[Any]] = set()
    async with asyncio.timeout(PATIENCE_S):
        while len(refused) < 3:  # one is worked on, two may wait
            refused, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in refused:
        error = task.exception()
        assert isinstance(error, openai.RateLimitError)
        assert (error.code, error.type, error.response.headers["retry-after"]) == (
            "overloaded",
            "rate_limit_error",
            "1",
        )
        assert "The model 'narrow' has 3 requests, as many as may wait for it" in error.message
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await until(lambda: replayed.active("narrow"), [0])


async def test_a_model_that_keeps_failing_is_left_out(client: openai.AsyncOpenAI, replayed: Served) -> None:
    for _ in range(5):
        with pytest.raises(openai.InternalServerError, match="It broke"):
            await client.chat.completions.create(**ask("Who breaks?", model="narrow"))
    with pytest.raises(openai.InternalServerError, match="Left out after 5 failures in a row") as refused:
        await client.chat.completions.create(**ask("Hello", model="narrow"))
    assert refused.value.status_code == 503
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 10
    async with httpx.AsyncClient(base_url=replayed.url, timeout=PATIENCE_S) as http:
        assert (await http.get("/readyz")).json()["left_out"] == ["narrow"]
    response = await client.chat.completions.create(**ask("Capital of France?"))
    assert response.choices[0].message.content == "The capital is Paris."


async def test_a_page_cannot_reach_it_under_a_name_of_its_own(replayed: Served) -> None:
    async with httpx.AsyncClient(base_url=replayed.url, timeout=PATIENCE_S) as http:
        assert (await http.get("/healthz", headers={"host": "evil.example"})).status_code == 403
        assert (await http.get("/healthz", headers={"host": "localhost"})).status_code == 200


async def test_ready(replayed: Served) -> None:
    async with httpx.AsyncClient(base_url=replayed.url, timeout=PATIENCE_S) as http:
        state = (await http.get("/readyz")).json()
    assert state["ready"] is True
    models = ("first", "second", "target", "narrow", "whole", "odd")
    assert state["replicas"] == dict.fromkeys(models, 1) | {"Scorer": 1, "bleurt": 1, "Router": 1}
    alike = {name: [0.9] for name in ("default", "observed", "left", "ahead", "inner", "outer", "lexical")}
    alike |= {"shed-calibrated": [0.9], "shed-members": [0.9]}
    single_tiers = {"confident": [1.0], "blended": [2.0], "forgiving": [0.5], "bleurt": [0.0], "with-bleurt": [0.0]}
    single_tiers["stood-in"] = [0.0]
    taped = {id_: [tier["threshold"]] for id_, tier in TIERS.items()}
    assert state["thresholds"] == alike | single_tiers | taped


async def test_head_compressed_bodies_and_pages_through_the_proxy(replayed: Served) -> None:
    body = gzip.compress(json.dumps(ask("How many?")).encode())
    packed = {"content-type": "application/json", "content-encoding": "gzip", "origin": "https://app.example"}
    headers = {"origin": "https://app.example", "access-control-request-method": "POST"}
    async with httpx.AsyncClient(base_url=replayed.url, timeout=PATIENCE_S) as http:
        head, get = await http.head("/v1/models"), await http.get("/v1/models")
        assert (head.status_code, head.headers["content-length"]) == (200, get.headers["content-length"])
        preflight = await http.options("/v1/chat/completions", headers=headers)
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, headers["origin"])
        answer = await http.post("/v1/chat/completions", content=body, headers=packed)
        assert answer.json()["choices"][0]["message"]["content"] == "From the target."
        refused = await http.post("/v1/chat/completions", content=body[:-1], headers=packed)
        assert (refused.status_code, "it ends too early" in refused.text) == (400, True)
        for response in (answer, refused):
            assert response.headers["access-control-allow-origin"] == "https://app.example"
            assert "x-request-id" in response.headers


def change_thresholds(served: Served, thresholds: dict[str, list[float]]) -> None:
    def change(values: dict[str, Any]) -> None:
        values["applications"][0]["deployments"] = [{"name": "Router", "user_config": {"thresholds": thresholds}}]

    served.rewrite(change)


async def test_serve_deploy_changes_thresholds_without_a_restart(replayed: Served, client: openai.AsyncOpenAI) -> None:
    requests_before = (await replayed.counters("first")).requests
    assert requests_before > 0
    async with httpx.AsyncClient(base_url=replayed.url, timeout=PATIENCE_S) as http:

        async def state() -> dict[str, Any]:
            return (await http.get("/readyz")).json()

        async def threshold() -> float:
            return (await state())["thresholds"]["default"][0]

        async def refused() -> bool:
            return (await state())["refused_user_config"] is not None

        change_thresholds(replayed, {"default": [0.7]})
        replayed.run_serve_deploy()
        await until(threshold, 0.7)
        response = await client.chat.completions.create(**ask("How many?"))
        assert response.model_extra["cascade"]["tiers"][0]["threshold"] == 0.7
        assert response.model_extra["cascade"]["deferred"] is False

        change_thresholds(replayed, {"defualt": [0.2]})
        replayed.deploy()
        await until(refused, True)
        assert "no such cascade. Did you mean 'default'?" in (await state())["refused_user_config"]["message"]
        assert await threshold() == 0.7

        change_thresholds(replayed, {"default": [0.9]})
        replayed.deploy()
        await until(refused, False)
        assert await threshold() == 0.9
    # The same engines still count on: no replica of a model was restarted.
    assert (await replayed.counters("first")).requests > requests_before
