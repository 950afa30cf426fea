import asyncio
from contextlib import aclosing

import pytest

from serve_app.config import ReplayModel
from serve_app.core.types.answer import Delta, Failure, Generation
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.deployments.model_server import ModelServer
from serve_app.errors import EngineError

ANSWERS = [
    {"contains": "slow", "text": "one two three four five", "token_s": 0.05},
    {"contains": "broken", "error": "The disk is full."},
    {"contains": "never", "text": "too late", "first_token_s": 60},
]


async def served(**options: object) -> ModelServer:
    config = ReplayModel.model_validate(
        {"engine": "replay", "answers": ANSWERS, "default": "It is Paris.", "context_tokens": 64} | options
    )
    server = ModelServer("small", config)
    await server.check_health()
    return server


def ask(text: str, timeout_s: float | None = None, **sampling: object) -> Prompt:
    return Prompt((Message("user", text),), sampling=Sampling(**sampling), timeout_s=timeout_s)


async def test_answers_whole() -> None:
    answer = await (await served()).generate(ask("Capital of France?"))
    assert isinstance(answer, Generation)
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("It is Paris.", "stop", 3)


async def test_streams_deltas_and_then_the_whole() -> None:
    items = [item async for item in (await served()).stream(ask("Capital of France?"))]
    assert "".join(item.text for item in items if isinstance(item, Delta)) == "It is Paris."
    assert len(items) > 2
    assert isinstance(items[-1], Generation)
    assert items[-1].text == "It is Paris."


@pytest.mark.parametrize("how", ["generate", "stream"])
@pytest.mark.parametrize(
    ("question", "kind", "message"),
    [
        ("broken", "error", "The disk is full."),
        ("word " * 100, "context_length", "The prompt has 100 tokens, but the context holds 64."),
        ("never", "timeout", "No answer within 0.2 s."),
    ],
)
async def test_failures_are_data(how: str, question: str, kind: str, message: str) -> None:
    server = await served()
    prompt = ask(question, timeout_s=0.2)
    if how == "generate":
        answer = await server.generate(prompt)
    else:
        *_, answer = [item async for item in server.stream(prompt)]
    assert isinstance(answer, Failure)
    assert (answer.kind, answer.estimated) == (kind, False)
    assert message in answer.message


async def test_a_timeout_is_charged_with_the_engines_own_count() -> None:
    answer = await (await served()).generate(ask("slow please", timeout_s=0.12))
    assert isinstance(answer, Failure)
    assert answer.kind == "timeout"
    assert 0 < answer.completion_tokens < 5
    assert answer.prompt_tokens == 2


async def test_cancelling_frees_the_slot() -> None:
    server = await served(slots=1)
    task = asyncio.create_task(server.generate(ask("never")))
    while server.counters().active == 0:  # noqa: ASYNC110 - counters raise no event
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.counters().active == 0


async def test_closing_the_stream_frees_the_slot() -> None:
    server = await served(slots=1)
    async with aclosing(server.stream(ask("slow please"))) as items:
        async for _ in items:
            break
    assert server.counters().active == 0


async def test_an_engine_that_cannot_be_loaded_fails_the_health_check(tmp_path: object) -> None:
    server = ModelServer("small", ReplayModel.model_validate({"engine": "replay", "records": f"{tmp_path}/none.jsonl"}))
    with pytest.raises(EngineError, match=r"none\.jsonl"):
        await server.check_health()
