"""The AI SDK with its OpenAI-compatible provider, in node, against a real server; skipped if it cannot be installed."""

import asyncio
import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from serve_app.core.types.answer import Failure
from tests.api.serving import Breaks, FakeService, Scripted
from tests.patience import PATIENCE_S

from .tool_loop import let_call

HERE = Path(__file__).parent / "ai_sdk"
INSTALL_S = 300
BOB = '{"name": "Bob", "age": 5}'


@pytest.fixture(scope="session")
def sdk() -> Path:
    """Return a folder with the script and the packages of package-lock.json, installed once for each lock file."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs node and npm")
    digest = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"semantic-cascade-ai-sdk-{digest}"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        for name in ("package.json", "package-lock.json", "ask.mjs"):
            shutil.copy(HERE / name, folder)
        if not (folder / "installed").exists():
            install(folder)
    return folder


def install(folder: Path) -> None:
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not install the AI SDK in {INSTALL_S} s")
    if process.returncode:
        pytest.skip(f"npm could not install the AI SDK: {process.stderr.strip()[:300]}")
    (folder / "installed").touch()


async def ask(sdk: Path, url: str, scenario: str) -> Any:
    """Return the result of one scenario of ask.mjs."""
    process = await asyncio.create_subprocess_exec(
        "node", "ask.mjs", url, scenario, cwd=sdk, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_S):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


async def test_generate_text(sdk: Path, url: str, service: FakeService):
    assert await ask(sdk, url, "generate") == {
        "text": "Paris",
        "finishReason": "stop",
        "inputTokens": 20,
        "outputTokens": 2,
    }
    sampling = service.models["a"].prompts[0].sampling
    assert (sampling.temperature, sampling.seed) == (0.5, 3)


async def test_stream_text(sdk: Path, url: str, service: FakeService):
    service.disagree()
    assert await ask(sdk, url, "stream") == {
        "texts": ["It", " is", " Paris."],
        "finishReason": "stop",
        "steps": 1,
        "outputTokens": 5,
    }


async def test_tools_in_two_steps(sdk: Path, url: str, service: FakeService):
    let_call(service)
    answer = await ask(sdk, url, "tools")
    assert answer == {"text": "In Paris: 18 degrees in Paris", "calls": [[["get_weather", {"city": "Paris"}]], []]}
    streamed = await ask(sdk, url, "streamTools")
    assert ("".join(streamed["texts"]), streamed["steps"]) == ("In Paris: 18 degrees in Paris", 2)
    assert [message.role for message in service.models["a"].prompts[-1].messages] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("scenario", ["object", "objectWithoutSchema", "output"])
async def test_objects(sdk: Path, url: str, service: FakeService, scenario: str):
    service.models["a"].text = service.models["b"].text = BOB
    assert await ask(sdk, url, scenario) == {"name": "Bob", "age": 5}
    assert service.models["a"].prompts[0].response_format is not None


@pytest.mark.parametrize("scenario", ["error", "streamError"])
@pytest.mark.parametrize(
    ("failure", "status", "retryable"),
    [
        (Failure("context_length", "The prompt is too long."), 400, False),
        (Failure("rate_limited", "Too many requests."), 429, True),
        (Failure("error", "It broke."), 502, True),
    ],
)
async def test_errors_have_their_status(
    sdk: Path, url: str, service: FakeService, scenario: str, failure: Failure, status: int, retryable: bool
):
    service.models["t"] = Scripted(failure)
    answer = await ask(sdk, url, scenario)
    error = answer if scenario == "error" else answer["error"]
    assert (error["type"], error["status"], error["retryable"]) == ("APICallError", status, retryable)
    assert failure.message in error["message"]


async def test_a_stream_that_breaks_off_is_an_error(sdk: Path, url: str, service: FakeService):
    service.models["t"] = Breaks(Failure("error", "The target broke."))
    answer = await ask(sdk, url, "streamError")
    assert answer["texts"] == ["The"]
    assert "The target broke." in json.dumps(answer["error"])
