import json
import re
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve_app.core.types.answer import Answer, Failure, Generation, TokenLogprob
from serve_app.core.types.prompt import Message, Prompt, Sampling, ToolCall
from serve_app.errors import ConfigError, ServerError, UsageError
from serve_app.evaluation.collect.server import MOST_RETRIES, Server
from tests.api.serving import FakeService, Scripted, listening, listening_app
from tests.deployments.access.doors import Door
from tests.evaluation.collect.openai_server import openai_server

PROMPT = Prompt((Message("user", "Where?"),), sampling=Sampling(7, 0.0, logprobs=True), timeout_s=5)


async def test_a_server_is_asked_for_a_single_model() -> None:
    service = FakeService()
    service.models["a"].text = "In Paris"
    async with listening(service) as url, Server(f"{url}/v1/", 2).open("a") as ask:
        assert await ask(PROMPT) == Generation(
            "In Paris", "stop", 10, 2, (TokenLogprob("In", -0.25), TokenLogprob("Paris", -0.25)), 0.5, 0.1
        )
    [prompt] = service.models["a"].prompts
    assert (prompt.messages, prompt.sampling) == (PROMPT.messages, PROMPT.sampling)
    assert not service.models["t"].prompts


USAGE = {"prompt_tokens": 9, "completion_tokens": 2}
LOGPROB = {"token": "In", "logprob": -0.25}


@pytest.mark.parametrize(
    ("choice", "usage", "expected"),
    [
        ({}, USAGE, Generation("In Paris", "stop", 9, 2)),
        ({"finish_reason": "length"}, USAGE, Generation("In Paris", "length", 9, 2)),
        ({"finish_reason": "eos"}, USAGE, Generation("In Paris", "stop", 9, 2)),
        (
            {"logprobs": {"content": [LOGPROB]}},
            USAGE,
            Generation("In Paris", "stop", 9, 2, (TokenLogprob("In", -0.25),)),
        ),
        (
            {"logprobs": {"content": [LOGPROB, {"token": "x", "logprob": None}]}},
            USAGE,
            Generation("In Paris", "stop", 9, 2),
        ),
        ({"logprobs": {"content": [{"token": None, "logprob": -1}]}}, USAGE, Generation("In Paris", "stop", 9, 2)),
        ({"logprobs": {"content": []}}, USAGE, Generation("In Paris", "stop", 9, 2)),
        ({"message": {"content": None}, "logprobs": {"content": []}}, USAGE, Generation("", "stop", 9, 2, ())),
        # 6 bytes of a question and 8 of an answer, three to a token, and the template's.
        ({}, None, Generation("In Paris", "stop", 10, 3, estimated=True)),
        ({}, {"prompt_tokens": None, "completion_tokens": 2}, Generation("In Paris", "stop", 10, 3, estimated=True)),
    ],
)
async def test_what_other_servers_leave_out(
    choice: dict[str, Any], usage: dict[str, Any] | None, expected: Generation
) -> None:
    answered = {"message": {"content": "In Paris"}, "finish_reason": "stop"} | choice
    async with openai_server({"choices": [answered], "usage": usage}) as url, Server(url, 1).open("a") as ask:
        answer = await ask(PROMPT)
    assert isinstance(answer, Generation)
    assert answer.latency_s > 0
    assert replace(answer, latency_s=0.0) == expected


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"finish_reason": None}, r"The answer of the model 'a' at 127\.0\.0\.1:\d+ broke off\."),
        ({"finish_reason": "content_filter"}, r"was cut off by the endpoint \(content_filter\)\."),
        ({"message": {"content": ["In Paris"]}}, r"sent a malformed OpenAI response\."),
    ],
)
async def test_what_is_no_answer_of_another_server_is_a_failure(choice: dict[str, Any], message: str) -> None:
    answered = {"message": {"content": "In Paris"}, "finish_reason": "stop"} | choice
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(openai_server({"choices": [answered], "usage": USAGE}))
        ask = await stack.enter_async_context(Server(url.replace("//", "//user:secret@"), 1).open("a"))
        failure = await ask(PROMPT)
    assert isinstance(failure, Failure)
    assert failure.kind == "error"
    assert re.search(message, failure.message)


async def ask(body: dict[str, Any] | bytes, status: int = 200) -> Answer:
    async with openai_server(body, status) as url, Server(url, 1).open("a") as ask:
        return replace(await ask(PROMPT), latency_s=0.0)


async def test_halves_of_surrogate_pairs_in_an_answer_are_replaced() -> None:
    function = {"name": "look\ud83d", "arguments": '{"at": "\ude00"}'}
    message = {"content": "a \ud83d", "tool_calls": [{"id": "1\ude00", "function": function}]}
    logprobs = {"content": [{"token": "a", "logprob": -0.5}, {"token": " \ud83d", "logprob": -1}]}
    choice = {"message": message, "logprobs": logprobs, "finish_reason": "tool_calls"}
    assert await ask({"choices": [choice], "usage": USAGE}) == Generation(
        "a \ufffd",
        "tool_calls",
        9,
        2,
        (TokenLogprob("a", -0.5), TokenLogprob(" \ufffd", -1.0)),
        tool_calls=(ToolCall("1\ufffd", "look\ufffd", '{"at": "\ufffd"}'),),
    )


async def test_halves_of_surrogate_pairs_in_a_failure_are_replaced() -> None:
    assert await ask({"error": {"message": "It broke: \ud83d"}}, 500) == Failure(
        "error", "It broke: \ufffd", estimated=True
    )
    with pytest.raises(ServerError, match=r"refused the request to 'a': No: \ufffd$"):
        await ask({"error": {"message": "No: \ud83d"}}, 400)


async def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    body = b'{"choices": [{"message": {"content": "caf\xe9"}, "finish_reason": "stop"}], "usage": %s}'
    assert await ask(body % json.dumps(USAGE).encode()) == Generation("caf\ufffd", "stop", 9, 2)
    assert await ask(b"\xef\xbb\xbf" + body % json.dumps(USAGE).encode()) == Generation("caf\ufffd", "stop", 9, 2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"choices": [{"message": {"con', "HTTP 200 without an answer."),
        (b"[" * 100_000, "HTTP 200 without an answer."),
        (b"", "HTTP 200 without an answer."),
        ({"choices": []}, "HTTP 200 without an answer."),
        ({"error": {"message": "The upstream is gone."}}, "The upstream is gone."),
    ],
)
async def test_a_success_without_an_answer_is_a_failure_of_that_request(
    body: dict[str, Any] | bytes, message: str
) -> None:
    assert await ask(body) == Failure("error", message, estimated=True)


async def test_models_with_half_a_pair_in_their_name_can_be_listed() -> None:
    async with openai_server({}) as url:
        with pytest.raises(ServerError, match=r"has no model 'aa'\. Did you mean 'a'\? Available: a, b, t, \ufffd\.$"):
            async with Server(url, 1).open("aa"):
                pass


@pytest.mark.parametrize(
    ("failure", "recorded"),
    [
        (
            Failure("timeout", "Too slow.", 12, 3, 1.5, estimated=True),
            Failure("timeout", "The model 'a' failed: Too slow.", 12, 3, 1.5, estimated=True),
        ),
        (Failure("context_length", "Too long.", 9000), Failure("context_length", "Too long.", 9000)),
        (Failure("unavailable", "Gone."), Failure("unavailable", "The model 'a' failed: Gone.")),
    ],
)
async def test_a_model_that_fails_is_data(failure: Failure, recorded: Failure) -> None:
    service = FakeService()
    service.models["a"].text = failure
    async with listening(service) as url, Server(url, 1).open("a") as ask:
        assert await ask(PROMPT) == recorded


async def test_a_server_that_breaks_is_a_failure_without_a_record() -> None:
    service = FakeService()
    service.models["a"].text = RuntimeError("a bug")
    async with listening(service) as url, Server(url, 1).open("a") as ask:
        failure = await ask(PROMPT)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.estimated, failure.prompt_tokens) == ("error", True, 0)
    assert failure.message == "The server failed in a way it should not; see its log."


async def test_a_server_that_is_silent_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.evaluation.collect.server.GRACE_S", 0.0)
    service = FakeService()
    service.models["a"] = Scripted("late", delay_s=3600)
    prompt = Prompt(PROMPT.messages, timeout_s=0.2)
    async with listening(service) as url, Server(url, 1).open("a") as ask:
        failure = await ask(prompt)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.estimated) == ("timeout", True)


FULL = {"retry-after": "0.01"}
ANSWER = {"choices": [{"index": 0, "message": {"content": "Paris"}, "finish_reason": "stop"}], "usage": USAGE}


@pytest.fixture
def without_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries wait for as long as the server says, and no longer."""
    monkeypatch.setattr("serve_app.evaluation.collect.server.random.random", lambda: 0.0)


@pytest.mark.usefixtures("without_jitter")
async def test_a_server_that_is_full_is_asked_again() -> None:
    refusals = [FULL] * MOST_RETRIES
    async with openai_server(ANSWER, refusals=refusals) as url, Server(url, 1).open("a") as ask:
        answer = await ask(PROMPT)
    assert isinstance(answer, Generation)
    assert (answer.text, refusals) == ("Paris", [])


@pytest.mark.usefixtures("without_jitter")
@pytest.mark.parametrize("refusals", [[FULL] * (MOST_RETRIES + 1), [{"retry-after": "3600"}]])
async def test_a_server_that_stays_full_is_a_failure_of_that_request(refusals: list[dict[str, str]]) -> None:
    async with openai_server(ANSWER, refusals=refusals) as url, Server(url, 1).open("a") as ask:
        failure = await ask(PROMPT)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.message) == ("rate_limited", "Full.")
        assert isinstance(await ask(PROMPT), Generation)


async def test_another_servers_time_out_is_one() -> None:
    async with openai_server({"error": {"message": "Late."}}, 408) as url, Server(url, 1).open("a") as ask:
        failure = await ask(PROMPT)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.message) == ("timeout", "Late.")


async def test_the_key_of_the_environment_opens_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(tmp_path)
    door.key("me")
    async with listening_app(door.app()) as url:
        for key, reason in (
            ("", "no API key was sent; set CASCADE_API_KEY. The server says: An API key is required"),
            ("sk-cascade-wrong", "the API key in CASCADE_API_KEY is wrong or no longer valid. The server says: "),
        ):
            monkeypatch.setenv("CASCADE_API_KEY", key)
            with pytest.raises(ServerError, match=rf"^{url} refused the request \(HTTP 401\): {reason}"):
                async with Server(url, 1).open("a"):
                    pass
        monkeypatch.setenv("CASCADE_API_KEY", "two words")
        with pytest.raises(ConfigError, match="CASCADE_API_KEY must be visible ASCII characters without spaces"):
            async with Server(url, 1).open("a"):
                pass
        monkeypatch.setenv("CASCADE_API_KEY", door.secrets["me"])
        async with Server(url, 1).open("a") as ask:
            assert isinstance(await ask(PROMPT), Generation)


async def test_a_key_that_is_revoked_meanwhile_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_API_KEY", "sk-cascade-1")
    async with openai_server({"error": {"message": "Revoked."}}, 401) as url:
        reason = r"the API key in CASCADE_API_KEY is wrong or no longer valid\. The server says: Revoked\."
        with pytest.raises(ServerError, match=rf"^{url.rstrip('/')} refused the request \(HTTP 401\): {reason}$"):
            async with Server(url, 1).open("a") as ask:
                await ask(PROMPT)


async def test_a_question_that_the_server_refuses_ends_the_run() -> None:
    async with listening(FakeService()) as url:
        with pytest.raises(ServerError, match=r"refused the request to 'a': messages\[0\].role: must be"):
            async with Server(url, 1).open("a") as ask:
                await ask(Prompt((Message("pirate", "Where?"),)))


async def test_servers_that_cannot_be_asked() -> None:
    async with listening(FakeService()) as url:
        listed = r"has no model 'aa'\. Did you mean 'a'\? Available: a, b, default, encoder, t\."
        with pytest.raises(ServerError, match=listed):
            async with Server(url, 1).open("aa"):
                pass
        with pytest.raises(
            ServerError, match=r"/elsewhere is not an OpenAI-compatible server \(HTTP 404 from /v1/models\)"
        ):
            async with Server(f"{url}/elsewhere", 1).open("a"):
                pass
    with pytest.raises(ServerError, match=f"No server answers at {url}"):
        async with Server(url, 1).open("a"):
            pass
    with pytest.raises(UsageError, match="'nowhere' is not the address of a server"):
        async with Server("nowhere", 1).open("a"):
            pass


async def test_a_server_that_goes_away_ends_the_run() -> None:
    async with AsyncExitStack() as server:
        url = await server.enter_async_context(listening(FakeService()))

        async def run() -> None:
            async with Server(url, 1).open("a") as ask:
                await server.aclose()
                await ask(PROMPT)

        with pytest.raises(ServerError, match=r"Lost the connection to http://"):
            await run()
