"""The process of a check: what it says comes back, and it is ended if it takes too long."""

import sys
from typing import Any

import httpx
import pytest

from serve_app.deployments.showing.check import ConfigChecker
from tests.config.checking.test_process import VALID
from tests.page.serving import built, configured

UNCHECKED = "This config could not be checked: {}. Run `cascade check` with the file instead."


async def test_an_operator_gets_the_sentences_of_the_terminal() -> None:
    app = built(configured())[0].__serve_build_asgi_app__()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        response = await http.post("/page/check", json={"yaml": VALID})
    assert (response.status_code, response.json()) == (
        200,
        {
            "valid": True,
            "lines": ["both: a + b -> b (thresholds: 0.5)", "config.yaml is valid: 2 models, 1 cascade."],
            "warnings": [],
        },
    )


@pytest.mark.parametrize(
    ("program", "limit_s", "reason"),
    [
        ("while True: pass", 0.2, "it takes longer than 0.2 s"),
        ("import os; os.kill(os.getpid(), 9)", 30, "it takes more time or memory than is allowed"),
        ("raise MemoryError", 30, "it failed"),
    ],
)
async def test_a_check_that_fails_is_a_sentence(program: str, limit_s: float, reason: str) -> None:
    checker = ConfigChecker((sys.executable, "-S", "-c", program), limit_s)
    assert await checker.check("a: 1") == {"valid": False, "lines": [UNCHECKED.format(reason)], "warnings": []}
    assert checker.busy is False


async def test_the_process_has_no_key_of_the_servers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    environment: Any = await ConfigChecker((sys.executable, "-S", "-c", program)).check("")
    assert "OPENAI_API_KEY" not in environment
    assert "PYTHONPATH" in environment
