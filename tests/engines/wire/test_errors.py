"""Errors in an endpoint's words, and answers that are none, over HTTP."""

from typing import Any

import pytest

from serve_app.engines import Meter
from serve_app.errors import ContextTooLongError
from tests.engines.asking import QUESTION, chat, failure
from tests.engines.conftest import Load
from tests.engines.endpoint import Endpoint, Reply
from tests.engines.replies import KEY, events, plain, raw_event, refusal, scored, text

pytestmark = pytest.mark.asyncio(loop_scope="session")

BUSY = "takes no more requests now, or has no quota left, for 'big' (HTTP 429, insufficient_quota)"

REFUSALS = [
    (
        401,
        {"message": f"Incorrect API key: {KEY}", "code": "invalid_api_key"},
        "refused the key for 'big' (HTTP 401, invalid_api_key)",
    ),
    (403, None, "does not allow the use of 'big' (HTTP 403)"),
    (404, {"message": QUESTION, "type": "NotFound", "code": 404}, "does not have 'big' (HTTP 404, NotFound)"),
    (429, {"code": "insufficient_quota"}, BUSY),
    (
        400,
        {"message": QUESTION, "code": "unsupported_value", "param": "temperature"},
        "refused the request to 'big' (HTTP 400, unsupported_value, temperature)",
    ),
    (400, {"message": QUESTION, "code": QUESTION, "param": {"a": 1}}, "refused the request to 'big' (HTTP 400)"),
    (400, QUESTION, "refused the request to 'big' (HTTP 400)"),
    (502, None, "failed to answer as 'big' (HTTP 502)"),
]


@pytest.mark.parametrize(("status", "error", "did"), REFUSALS)
async def test_refusals_name_model_host_and_status_and_nothing_private(
    endpoint: Endpoint, load: Load, monkeypatch: pytest.MonkeyPatch, status: int, error: Any, did: str
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    endpoint.script.append(refusal(status, error))
    message, _ = await failure(await load(keyless=False, api_key_env="SOME_KEY", max_retries=0))
    assert message == f"The endpoint {endpoint.host} {did}."


OPENAI = {"code": "context_length_exceeded"}

MAXIMUM = "This model's maximum context length is 8192 tokens. However, "

INPUT = "your prompt contains at least 9001 input tokens, for a total of at least 9017 tokens."

LLAMA = {
    "code": 400,
    "type": "exceed_context_size_error",
    "message": "too long",
    "n_prompt_tokens": 9001,
    "n_ctx": 8192,
}

LONG = [
    (OPENAI | {"message": f"{MAXIMUM}your messages resulted in 9001 tokens. Please reduce"}, 9001, 8192),
    (OPENAI | {"message": f"{MAXIMUM}you requested 9000 tokens (8000 in the messages, 1000 in the"}, 8000, 8192),
    (OPENAI | {"message": "Your input exceeds the context window of this model."}, None, None),
    # vLLM
    ({"code": 400, "message": f"{MAXIMUM}you requested 16 output tokens and {INPUT}"}, 9001, 8192),
    ({"message": "The decoder prompt (length 9001) is longer than the maximum model length of 8192."}, 9001, 8192),
    ({"message": "Input length (9001) exceeds model's maximum context length (8192)."}, 9001, 8192),
    (LLAMA, 9001, 8192),
    # Text Generation Inference
    ({"message": "`inputs` tokens + `max_new_tokens` must be <= 8192. Given: 9001 `inputs` tokens"}, 9001, 8192),
]


@pytest.mark.parametrize(("error", "prompt_tokens", "context_tokens"), LONG)
async def test_prompts_that_do_not_fit(
    endpoint: Endpoint, load: Load, error: dict[str, Any], prompt_tokens: int | None, context_tokens: int | None
) -> None:
    endpoint.script += [refusal(400, error), events({"error": error})]
    engine = await load()
    for _ in ("as a status", "in a stream that has begun"):
        with pytest.raises(ContextTooLongError) as caught:
            await engine.generate(chat(QUESTION), meter := Meter())
        assert (caught.value.prompt_tokens, caught.value.context_tokens) == (prompt_tokens, context_tokens)
        assert meter == Meter()


async def test_an_error_in_the_stream(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(events(text("Par"), {"error": {"message": QUESTION, "code": "overloaded"}}))
    message, meter = await failure(await load())
    assert message == f"The endpoint {endpoint.host} failed to answer as 'big' (in its answer, overloaded)."
    assert (meter.prompt_tokens, meter.completion_tokens, meter.estimated) == (18, 1, True)


async def test_a_whole_answer_that_is_an_error(endpoint: Endpoint, load: Load) -> None:
    engine = await load(stream=False)
    endpoint.script += [
        plain(b'{"error": {"message": "busy", "code": "overloaded"}}'),
        plain(b'{"error": {"code": "context_length_exceeded"}}'),
    ]
    message, meter = await failure(engine)
    assert message == f"The endpoint {endpoint.host} failed to answer as 'big' (in its answer, overloaded)."
    assert meter == Meter()
    with pytest.raises(ContextTooLongError):
        await engine.generate(chat(QUESTION), meter := Meter())
    assert meter == Meter()


MALFORMED = "The model 'big' at {} sent a malformed OpenAI response."


def finished(reason: Any) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": "Paris"}, "finish_reason": reason}]}


def called(call: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (events(text("Par"), end_mark=False), "The answer of the model 'big' at {} broke off."),
        (events({"choices": ["Paris"]}), MALFORMED),
        (raw_event(b'{"choices": [{"delta": {"content": "Par\xff"}}]}'), MALFORMED),
        (raw_event(b"[" * 100_000), MALFORMED),
        (raw_event(b'{"created": ' + b"9" * 5000 + b"}"), MALFORMED),
        (events(finished({"type": "stop"})), MALFORMED),
        (events(called({"id": 7, "function": {"name": "weather", "arguments": "{}"}})), MALFORMED),
        (events(called({"id": "c1", "function": {"name": 9, "arguments": "{}"}})), MALFORMED),
        (events(scored("Paris", ("Paris", float("nan")))), MALFORMED),
        (events(scored("Paris", ("Paris", None))), MALFORMED),
        (events(scored("Paris", ("Paris", "-0.1"))), MALFORMED),
        (events(scored("Paris", ("Paris", -(10**400)))), MALFORMED),
        (events(scored("Paris", (None, -0.1))), MALFORMED),
    ],
)
async def test_answers_that_are_none(endpoint: Endpoint, load: Load, reply: Reply, sentence: str) -> None:
    endpoint.script.append(reply)
    assert (await failure(await load(), chat(QUESTION, logprobs=True)))[0] == sentence.format(endpoint.host)


@pytest.mark.parametrize("body", [b'{"choices": [{"message": {"content": "\xff"}}]}', b"[" * 100_000, b"{oops"])
async def test_whole_answers_that_are_none(endpoint: Endpoint, load: Load, body: bytes) -> None:
    endpoint.script.append(plain(body))
    assert (await failure(await load(stream=False)))[0] == MALFORMED.format(endpoint.host)
