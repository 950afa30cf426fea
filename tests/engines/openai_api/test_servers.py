"""The openai_api engine against real servers: this project's own API, and llama.cpp's."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from serve_app.core.tools import AnswerSchema
from serve_app.core.types.answer import Failure
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.engines import Engine, Meter
from serve_app.errors import ContextTooLongError, EngineError
from tests.api.serving import FakeService
from tests.api.serving import listening as serving
from tests.engines.asking import QUESTION, chat, failure, generate, raw, stream, until
from tests.engines.conftest import Load, load_openai_api, loading
from tests.engines.replies import KEY
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def service() -> FakeService:
    return FakeService()


@pytest_asyncio.fixture(loop_scope="session")
async def ours(service: FakeService) -> AsyncIterator[Load]:
    """Yield a loader of engines that ask this project's own API, over scripted models."""
    async with serving(service) as url, loading(f"{url}/v1", stream_options={"include_usage": True}) as load:
        yield load


@pytest.mark.parametrize("model", ["default", "t"])
async def test_a_cascade_as_a_model(service: FakeService, ours: Load, model: str) -> None:
    service.disagree()
    engine = await ours(model=model)
    prompt = chat(QUESTION, max_tokens=20, temperature=0.5, seed=3, stop=("\n",))
    answer = await generate(engine, prompt)
    assert (answer.text, answer.finish_reason, answer.estimated) == ("It is Paris.", "stop", False)
    # `usage` is what all models of the cascade read and wrote: 1 + 1 words of the members and the target's 3.
    tokens = (30, 5) if model == "default" else (10, 3)
    assert (answer.prompt_tokens, answer.completion_tokens) == tokens
    deltas, streamed = await stream(engine, prompt)
    assert [delta.text for delta in deltas] == ["It", " is", " Paris."]
    assert streamed.completion_tokens == tokens[1]
    assert service.models["t"].prompts[0].sampling == prompt.sampling
    assert (await generate(engine, raw("France:"))).text == "It is Paris."


async def test_logprobs_of_a_cascade_come_in_whole_answers(ours: Load) -> None:
    answer = await generate(await ours(model="default", stream=False), chat(QUESTION, logprobs=True))
    assert [(entry.token, entry.logprob) for entry in answer.logprobs or ()] == [("Paris", -0.25)]


@pytest.mark.parametrize("streamed", [True, False])
async def test_failures_of_a_cascade(service: FakeService, ours: Load, streamed: bool) -> None:
    engine = await ours(model="t", max_retries=0, stream=streamed)
    service.models["t"].text = Failure("context_length", str(ContextTooLongError(100, 64)))
    with pytest.raises(ContextTooLongError, match="has 100 tokens, but the context holds 64"):
        await generate(engine, chat(QUESTION))
    service.models["t"].text = Failure("error", "The disk is full.")
    with pytest.raises(EngineError, match=r"failed to answer as 't' \((in its answer|HTTP 502), error\)"):
        await generate(engine, chat(QUESTION))


async def test_cancelling_stops_the_cascade(service: FakeService, ours: Load) -> None:
    service.models["t"].delay_s = 3600
    engine = await ours(model="t")
    task = asyncio.create_task(engine.generate(chat(QUESTION), Meter()))
    await asyncio.wait_for(service.models["t"].entered.wait(), PATIENCE_S)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: service.models["t"].stopped == 1)


@pytest.fixture(scope="session")
def llama_server(smollm2: Path) -> Iterator[str]:
    """Yield the URL of llama.cpp's own HTTP server with a real model; its key is in LLAMA_KEY."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(smollm2)
    params.n_parallel, params.n_ctx = 2, 4096
    params.cpuparams.n_threads = 1
    params.verbosity = -1
    params.ui = False
    params.api_keys = [KEY]
    os.environ["LLAMA_KEY"] = KEY
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server, os.environ["LLAMA_KEY"]


@pytest_asyncio.fixture(loop_scope="session")
async def llama_api(llama_server: str) -> AsyncIterator[Engine]:
    engine = await load_openai_api(
        llama_server, keyless=False, api_key_env="LLAMA_KEY", stream_options={"include_usage": True}
    )
    yield engine
    await engine.close()


@pytest.mark.models
async def test_llama_server_answers_as_the_model_does(llama_api: Engine, llama: Engine) -> None:
    """The same tokens as in process. Its streams count at the end only, so deltas have estimates."""
    prompt = chat("What is the capital of France?", max_tokens=8, temperature=0.0, logprobs=True)
    local, served = await generate(llama, prompt), await generate(llama_api, prompt)
    assert (served.text, served.finish_reason) == (local.text, "length")
    assert (served.prompt_tokens, served.completion_tokens) == (local.prompt_tokens, 8)
    assert [entry.token for entry in served.logprobs or ()] == [entry.token for entry in local.logprobs or ()]
    deltas, streamed = await stream(
        llama_api, raw("The capital of France is", max_tokens=4, temperature=0.0, logprobs=True)
    )
    assert all(delta.estimated for delta in deltas)
    assert (len(streamed.logprobs or ()), streamed.completion_tokens, streamed.estimated) == (4, 4, False)


@pytest.mark.models
async def test_llama_server_honours_a_schema(llama_api: Engine) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris"]}}, "required": ["city"]}
    form = AnswerSchema("answer", schema)
    prompt = Prompt((Message("user", QUESTION),), sampling=Sampling(max_tokens=40), response_format=form)
    assert "".join((await generate(llama_api, prompt)).text.split()) == '{"city":"Paris"}'


@pytest.mark.models
async def test_llama_server_refuses(llama_api: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ContextTooLongError, match="has 3001 tokens, but the context holds 2048"):
        await generate(llama_api, raw("story " * 3000))
    monkeypatch.setenv("LLAMA_KEY", "sk-wrong")
    assert "refused the key for 'replayed' (HTTP 401" in (await failure(llama_api))[0]
