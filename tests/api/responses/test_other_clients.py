"""Clients other than the official one: langchain-openai, and Codex if it is installed."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_openai import ChatOpenAI

from serve_app.core.types.answer import Answer, Delta
from serve_app.core.types.prompt import Message, Prompt, ToolCall
from tests.api.serving import FakeService, Scripted
from tests.patience import PATIENCE_S

from .test_client import PARIS, WEATHER

CODEX = shutil.which("codex")


@pytest.fixture
async def chat(url: str) -> AsyncIterator[Any]:
    where = {"base_url": f"{url}/v1", "api_key": "none", "max_retries": 0}
    async with httpx.AsyncClient() as connections:  # its own are never closed
        yield ChatOpenAI(model="t", use_responses_api=True, http_async_client=connections, **where)


@pytest.mark.parametrize("stream", [False, True])
async def test_langchain_calls_tools_over_two_turns(chat: Any, service: FakeService, stream: bool):
    service.models["t"] = Scripted("Let me look.", reasoning="Hm.", tool_calls=(PARIS,))
    first = await answer(chat, stream, ("user", "Weather in Paris?"))
    [call] = first.tool_calls
    assert (call["id"], call["name"], call["args"]) == ("call_1", "get_weather", {"city": "Paris"})
    service.models["t"] = Scripted("Mild.")
    result = {"role": "tool", "tool_call_id": call["id"], "content": "18"}
    second = await answer(chat, stream, ("user", "Weather in Paris?"), first, result)
    assert second.text == "Mild."
    assert service.models["t"].prompts[0].messages == (
        Message("user", "Weather in Paris?"),
        Message("assistant", "Let me look.", (PARIS,)),
        Message("tool", "18", tool_call_id="call_1"),
    )


async def answer(chat: Any, stream: bool, *messages: Any) -> Any:
    bound = chat.bind_tools([WEATHER])
    if not stream:
        return await bound.ainvoke(messages)
    whole, *chunks = [chunk async for chunk in bound.astream(messages)]
    for chunk in chunks:
        whole += chunk
    return whole


class Agent(Scripted):
    """Has one command run, and then repeats what it printed."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        last = prompt.messages[-1]
        is_question = last.role == "user"
        command = ToolCall("call_1", "exec_command", json.dumps({"cmd": "echo $((6 * 7)) apples"}))
        self.text, self.tool_calls = ("", (command,)) if is_question else (f"It printed: {last.content}", ())
        async for event in super().stream(prompt):
            yield event


@pytest.mark.skipif(CODEX is None, reason="Codex is not installed (npm install -g @openai/codex)")
async def test_codex_runs_a_command(url: str, service: FakeService, tmp_path: Path):
    assert CODEX is not None
    service.models["t"] = Agent("", reasoning="Hm.")
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
    config = page.split("```toml\n")[1].split("```")[0]
    config = config.replace("http://127.0.0.1:8000", url).replace('"default"', '"t"')
    (tmp_path / "config.toml").write_text(config)
    process = await asyncio.create_subprocess_exec(
        *(CODEX, "exec", "--skip-git-repo-check", "--sandbox", "danger-full-access", "Count the apples."),
        cwd=tmp_path,
        env=os.environ | {"CODEX_HOME": str(tmp_path)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0, output.decode()
    assert "It printed:" in output.decode()
    assert "42 apples" in output.decode()
