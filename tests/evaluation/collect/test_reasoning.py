"""Thoughts are kept out of what is compared offline exactly as they are online."""

import json
from pathlib import Path
from typing import Any

import pytest

from serve_app.core.types.answer import Answer, Generation
from serve_app.core.types.prompt import Message, Prompt
from serve_app.engines import ReplayConfig, load_engine
from serve_app.engines.running.answer import answer
from serve_app.evaluation.collect.server import Server
from serve_app.evaluation.records.lines import answer_body, read_line
from tests.api.serving import FakeService, Scripted, listening
from tests.evaluation.collecting import collect, question, write_config, write_examples


def test_a_line_has_the_thoughts_and_gives_them_back() -> None:
    thoughtful = Generation("Paris", "stop", 3, 9, reasoning="Rome? No.", reasoning_tokens=6)
    assert read_line(answer_body("1", "a", thoughtful)).answer == thoughtful
    plain = Generation("Paris", "stop", 3, 9)
    assert "reasoning" not in answer_body("1", "a", plain)
    assert read_line(answer_body("1", "a", plain)).answer == plain


MODELS: dict[str, dict[str, Any]] = {
    name: {"engine": "replay", "answers": [{"contains": "", "text": "Paris", "reasoning": thought}]}
    for name, thought in {"a": "Rome? No.", "b": "I know that.", "t": "Let me see."}.items()
}


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, Answer]:
    """Return the answer of each model as `cascade collect` records it."""
    out = tmp_path / "r.jsonl"
    data = write_examples(tmp_path / "d.jsonl", [question(1)])
    collected = collect(write_config(tmp_path / "c.yaml", MODELS), data, "-o", out)
    assert collected.exit_code == 0, collected.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    return {line["model"]: read_line(line).answer for line in lines if line["kind"] == "answer"}


async def test_what_is_collected_is_what_members_answer_online(offline: dict[str, Answer]) -> None:
    for name, model in MODELS.items():
        engine = await load_engine(ReplayConfig.model_validate(model))
        online = await answer(engine, Prompt((Message("user", "Where?"),)))
        mine = offline[name]
        assert isinstance(online, Generation)
        assert isinstance(mine, Generation)
        assert online.compared == mine.compared == "Paris"
        assert (online.reasoning, online.reasoning_tokens) == (mine.reasoning, mine.reasoning_tokens)
        await engine.close()


@pytest.mark.parametrize("thought", ["", "hm"])
async def test_what_this_server_calls_text_is_not_divided_again(thought: str) -> None:
    """Its config may say that a model's marks are none, or others."""
    service = FakeService()
    service.models["a"] = Scripted("<think>x</think>y", reasoning=thought)
    async with listening(service) as url, Server(url, 1).open("a") as ask:
        read = await ask(Prompt((Message("user", "Where?"),)))
    assert isinstance(read, Generation)
    assert (read.text, read.reasoning) == ("<think>x</think>y", thought)
    assert read.reasoning_tokens == len(thought.split())
