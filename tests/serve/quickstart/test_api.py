"""The quickstart, end to end: three real models on real Ray Serve, asked by the official client."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from serve_app.config.serve_file import load
from serve_app.core.deciding.agreement import agree, survivors
from serve_app.core.deciding.deferral import decide
from serve_app.core.types.answer import Generation
from serve_app.signals import build_signal
from serve_app.weights import fetch
from tests.patience import PATIENCE_S
from tests.serve.conftest import Served, until

from .conftest import CONFIG, MEMBERS, QUESTIONS

pytestmark = [pytest.mark.serve, pytest.mark.models]


@pytest.fixture
async def client(quickstart: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{quickstart.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE_S
    ) as client:
        yield client


def ask(text: str, **options: Any) -> dict[str, Any]:
    request = {"model": "default", "messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 32}
    return request | {"extra_body": {"cascade": {"include_answers": True}}} | options


@pytest.fixture(scope="module")
def sbert() -> Any:
    signal = load(CONFIG).application.args.similarities()["sbert"]
    return build_signal(signal, fetch(signal.weights, signal.sha256))


async def test_some_are_accepted_some_deferred_and_core_says_the_same(client: openai.AsyncOpenAI, sbert: Any) -> None:
    args = load(CONFIG).application.args
    (tier, _) = args.tiers("default", args.thresholds()["default"])
    deferred = []
    for question in QUESTIONS:
        response = await client.chat.completions.create(**ask(question))
        record = response.model_extra["cascade"]
        shown = record["tiers"][0]
        answers = [
            Generation(text, record["models"][name]["finish_reason"], 0, 0)
            for name, text in zip(MEMBERS, shown["answers"], strict=True)
        ]
        similarities = sbert.similarities([shown["answers"]])[0].similarities
        judged = agree(survivors(tier, answers), similarities)
        decision = decide(tier, judged)
        assert shown["agreement"] == pytest.approx(decision.agreement, abs=1e-5)
        assert (shown["accepted"], shown["reason"]) == (decision.accepted, decision.reason)
        assert shown["selected"] == MEMBERS[decision.selected]
        assert record["deferred"] is not decision.accepted
        answered_by = MEMBERS[decision.selected] if decision.accepted else "qwen-1.5b"
        assert record["answered_by"] == answered_by
        text = shown["answers"][decision.selected] if decision.accepted else record["tiers"][1]["answers"][0]
        assert response.choices[0].message.content == text
        model_records = record["models"].values()
        assert response.usage.completion_tokens == sum(model["completion_tokens"] for model in model_records)
        tokens = {name: m["prompt_tokens"] + m["completion_tokens"] for name, m in record["models"].items()}
        models = sum(2 * args.models[name].parameters * count for name, count in tokens.items())
        assert models < record["cost"]["flops"] < models * 1.2  # the scorer costs a little
        deferred.append(record["deferred"])
    assert set(deferred) == {True, False}


@pytest.mark.parametrize("force", ["accept", "defer"])
async def test_streaming_gives_the_same_answer(client: openai.AsyncOpenAI, force: str) -> None:
    options = {"extra_body": {"cascade": {"force": force}}}
    plain = await client.chat.completions.create(**ask(QUESTIONS[0], **options))
    stream = await client.chat.completions.create(**ask(QUESTIONS[0], **options), stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == plain.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].model_extra["cascade"]["answered_by"] == plain.model_extra["cascade"]["answered_by"]


async def test_raw_completions(client: openai.AsyncOpenAI) -> None:
    response = await client.completions.create(model="qwen-0.5b", prompt="1, 2, 3, 4,", max_tokens=8, temperature=0)
    assert "5" in response.choices[0].text
    assert response.usage.completion_tokens == 8


async def test_logprobs(client: openai.AsyncOpenAI) -> None:
    response = await client.chat.completions.create(**ask(QUESTIONS[0], model="smollm2-135m"), logprobs=True)
    tokens = response.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == response.choices[0].message.content
    assert all(token.logprob <= 0 for token in tokens)


async def test_a_context_that_is_too_long_says_both_lengths(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"The prompt has \d{4} tokens, but the context holds 2048"):
        await client.chat.completions.create(**ask("word " * 3000))


@pytest.mark.parametrize("prompt", ["Tell me a very long story.", "word " * 900 + "\nSummarise this."])
async def test_a_client_that_leaves_frees_every_slot(
    quickstart: Served, client: openai.AsyncOpenAI, prompt: str
) -> None:
    """After the first token with the short prompt; with the long one while it is still read."""
    request = asyncio.create_task(client.chat.completions.create(**ask(prompt, max_tokens=1000)))
    await until(lambda: quickstart.active(*MEMBERS), [1, 1])
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await until(lambda: quickstart.active(*MEMBERS), [0, 0])


@pytest.mark.parametrize("tokens", [0, 3])
async def test_a_client_that_leaves_the_targets_stream_frees_its_slot(
    quickstart: Served, client: openai.AsyncOpenAI, tokens: int
) -> None:
    prompt = "Tell me a long story." if tokens else "word " * 500 + "\nTell me a long story."
    stream = await client.chat.completions.create(**ask(prompt, max_tokens=1000, model="qwen-1.5b"), stream=True)
    for _ in range(1 + tokens):
        await anext(stream)
    await until(lambda: quickstart.active("qwen-1.5b"), [1])
    before = (await quickstart.counters("qwen-1.5b")).completion_tokens
    await stream.close()
    await until(lambda: quickstart.active("qwen-1.5b"), [0])
    assert (await quickstart.counters("qwen-1.5b")).completion_tokens - before < 200


@pytest.mark.parametrize("form", [openai.NOT_GIVEN, "float"])
async def test_embeddings_are_those_of_the_signal(client: openai.AsyncOpenAI, sbert: Any, form: Any) -> None:
    texts = ["The sky is blue.", "The sky is blue today.", "Faust", "word " * 1000]
    answer = await client.embeddings.create(model="sbert", input=texts, encoding_format=form)
    vectors = [item.embedding for item in answer.data]
    similarities = sbert.similarities([texts])[0].similarities
    for row, vector in zip(similarities, vectors, strict=True):
        cosines = [sum(a * b for a, b in zip(vector, column, strict=True)) for column in vectors]
        assert cosines == pytest.approx(row, abs=1e-4)
    # Two special tokens each; of the long text the encoder reads 256 tokens.
    assert answer.usage.prompt_tokens == (5 + 2) + (6 + 2) + (1 + 2) + 256
    assert len(vectors[0]) == 384


async def test_the_encoder_is_no_chat_model(client: openai.AsyncOpenAI) -> None:
    kinds = {model.id: model.kind async for model in client.models.list()}
    assert (kinds["sbert"], kinds["default"], kinds["qwen-0.5b"]) == ("embedding", "cascade", "model")
    with pytest.raises(openai.NotFoundError, match="There is no model 'sbert'"):
        await client.chat.completions.create(**ask("Hi", model="sbert"))
    with pytest.raises(openai.NotFoundError, match=r"There is no encoder 'default'.*sbert"):
        await client.embeddings.create(model="default", input="Hi")


async def test_several_answers_with_the_likeliest_tokens(client: openai.AsyncOpenAI) -> None:
    options = {"temperature": 1.0, "seed": 3, "n": 3, "logprobs": True, "top_logprobs": 2, "frequency_penalty": 0.5}
    response = await client.chat.completions.create(**ask(QUESTIONS[-1], **options))
    assert [choice.index for choice in response.choices] == [0, 1, 2]
    for choice in response.choices:
        assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
    record = response.model_extra["cascade"]
    answered = record["models"][record["answered_by"]]
    assert answered["calls"] == 3
    model_records = record["models"].values()
    assert response.usage.completion_tokens == sum(model["completion_tokens"] for model in model_records)


async def test_a_token_that_is_banned(client: openai.AsyncOpenAI) -> None:
    biased = ask(QUESTIONS[0], model="smollm2-135m", max_tokens=2, logit_bias={"28": 100})
    assert (await client.chat.completions.create(**biased)).choices[0].message.content == ",,"
    with pytest.raises(openai.BadRequestError, match="logit_bias: only for a single model"):
        await client.chat.completions.create(**ask(QUESTIONS[0], logit_bias={"28": 100}))


async def test_several_prompts(client: openai.AsyncOpenAI) -> None:
    prompts = ["1, 2, 3, 4,", "a, b, c, d,"]
    response = await client.completions.create(model="qwen-0.5b", prompt=prompts, max_tokens=6, temperature=0)
    assert "5" in response.choices[0].text
    assert "e" in response.choices[1].text
    assert len(response.model_extra["cascade"]) == 2
