"""A cascade whose target is another cascade of the same server, over HTTP: the openai_api engine on real Ray Serve."""

import openai
import pytest

from tests.serve.conftest import Served, until

pytestmark = pytest.mark.serve

QUESTION = {"messages": [{"role": "user", "content": "How many?"}]}


async def test_the_inner_cascade_answers_for_the_target(client: openai.AsyncOpenAI) -> None:
    response = await client.chat.completions.create(model="outer", **QUESTION)
    assert response.choices[0].message.content == "From the target."
    record = response.model_extra["cascade"]
    assert (record["deferred"], record["answered_by"]) == (True, "whole")
    # The inner cascade asked three models: 2 words of prompt each, answers of 4, 4 and 3 words.
    assert record["models"]["whole"]["prompt_tokens"] == 6
    assert record["models"]["whole"]["completion_tokens"] == 11
    assert record["cost"]["usd"] == pytest.approx((6 * 1.0 + 11 * 10.0) / 1e6)
    assert "estimated" not in record["cost"]


async def test_its_tokens_are_streamed_through(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="outer", stream=True, **QUESTION)
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert deltas == ["From", " the", " target."]
    assert chunks[-1].model_extra["cascade"]["answered_by"] == "whole"


async def test_logprobs_that_a_model_cannot_give_are_refused(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="logprobs: 'whole' cannot give log-probabilities") as caught:
        await client.chat.completions.create(model="outer", logprobs=True, **QUESTION)
    assert caught.value.param == "logprobs"


async def test_a_client_that_leaves_frees_the_innermost_model(replayed: Served, client: openai.AsyncOpenAI) -> None:
    fields = {"messages": [{"role": "user", "content": "A long target please."}]}
    stream = await client.chat.completions.create(model="outer", stream=True, **fields)
    for _ in range(5):
        await anext(stream)
    assert await replayed.active("whole", "target") == [1, 1]
    await stream.close()
    await until(lambda: replayed.active("whole", "target"), [0, 0])
