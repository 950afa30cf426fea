import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.config import ReplayModel
from serve_app.core.types.answer import Answer, Failure, Generation, TokenLogprob
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.errors import EngineError, ServerError
from serve_app.evaluation.collect.sources import Engines, ask_all

PROMPT = Prompt((Message("user", "Where?"),), sampling=Sampling(7, 0.0, logprobs=True), timeout_s=5)


async def test_an_engine_is_loaded_for_its_model() -> None:
    logprobs = (("Pa", -0.5), ("ris", -0.25))
    model = ReplayModel(engine="replay", answers=({"contains": "Where", "text": "Paris", "logprobs": logprobs},))
    async with Engines({"a": model}, {}).open("a") as ask:
        answer = await ask(PROMPT)
        failure = await ask(Prompt((Message("user", "Why?"),), timeout_s=5))
    assert isinstance(answer, Generation)
    assert (answer.text, answer.logprobs) == ("Paris", (TokenLogprob("Pa", -0.5), TokenLogprob("ris", -0.25)))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.message) == (
        "error",
        "The replay engine has no answer to this prompt, and no default.",
    )


async def test_an_engine_that_cannot_be_loaded(tmp_path: Path) -> None:
    model = ReplayModel(engine="replay", records=tmp_path / "nowhere")
    with pytest.raises(EngineError, match="cannot use its records"):
        async with Engines({"a": model}, {}).open("a"):
            pass


async def test_asking_many_is_bounded_and_each_is_taken_once() -> None:
    running, most = 0, 0
    ids: list[str] = []

    async def ask(prompt: Prompt) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return Failure("error", "")

    await ask_all(ask, ((str(i), PROMPT) for i in range(50)), 3, lambda id_, _: ids.append(id_))
    assert sorted(ids, key=int) == [str(i) for i in range(50)]
    assert most == 3


async def test_the_first_error_ends_it_and_is_raised_as_it_is() -> None:
    ids: list[str] = []

    def prompts() -> Iterator[tuple[str, Prompt]]:
        for i in range(50):
            ids.append(str(i))
            yield str(i), PROMPT

    async def ask(prompt: Prompt) -> Answer:
        await asyncio.sleep(0.001)
        raise ServerError("gone")

    with pytest.raises(ServerError, match="gone"):
        await ask_all(ask, prompts(), 4, lambda *_: None)
    assert len(ids) == 4
