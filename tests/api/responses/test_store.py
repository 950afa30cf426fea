"""Responses that are kept: gone on from, looked up, forgotten, and bounded."""

from typing import Any

import httpx
import openai
import pytest

from serve_app.api.responses.store import KeptResponse
from serve_app.core.types.prompt import Message, ToolCall
from tests.api.serving import FakeService, Scripted

from .test_client import PARIS, WEATHER
from .test_requests import BASE, PATH, refused

ASK: dict[str, Any] = BASE


def test_texts_are_measured_as_they_are_in_memory() -> None:
    call = ToolCall("1", "f", "a" * 1000)
    assert KeptResponse(b"", (Message("user", "€" * 1000),)).size > 2000
    assert KeptResponse(b"x" * 500, (Message("assistant", "", (call,)),)).size > 1500


class TestOverHttp:
    async def test_a_conversation_goes_on(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"] = Scripted("", tool_calls=(PARIS,))
        fields: dict[str, Any] = {"model": "t", "tools": [WEATHER]}
        first = await client.responses.create(**fields, input="Weather in Paris?", instructions="Be brief.")
        service.models["t"] = Scripted("18 degrees.")
        result: Any = {"type": "function_call_output", "call_id": "call_1", "output": "18"}
        second = await client.responses.create(**fields, input=[result], previous_response_id=first.id)
        third = await client.responses.create(**fields, input="Thanks!", previous_response_id=second.id)
        conversation = (
            Message("user", "Weather in Paris?"),
            Message("assistant", "", (PARIS,)),
            Message("tool", "18", tool_call_id="call_1"),
        )
        # Instructions are those of their own request only.
        assert [prompt.messages for prompt in service.models["t"].prompts] == [
            conversation,
            (*conversation, Message("assistant", "18 degrees."), Message("user", "Thanks!")),
        ]
        assert (second.previous_response_id, third.previous_response_id) == (first.id, second.id)

    async def test_a_kept_response_is_looked_up_and_forgotten(self, client: openai.AsyncOpenAI):
        created = await client.responses.create(**ASK)
        assert (await client.responses.retrieve(created.id)).to_dict() == created.to_dict()
        async with client.responses.stream(**ASK) as stream:
            streamed = await stream.get_final_response()
        assert (await client.responses.retrieve(streamed.id)).output_text == "Paris"
        await client.responses.delete(created.id)
        for call in (client.responses.retrieve, client.responses.delete):
            with pytest.raises(openai.NotFoundError, match=f"No response '{created.id}' is kept here"):
                await call(created.id)
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(**ASK, previous_response_id=created.id)
        assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")

    async def test_a_kept_response_is_not_streamed(self, client: openai.AsyncOpenAI):
        created = await client.responses.create(**ASK)
        with pytest.raises(openai.BadRequestError, match="not streamed again"):
            await client.responses.retrieve(created.id, stream=True)

    async def test_nothing_is_kept_that_should_not_be(self, client: openai.AsyncOpenAI):
        created = await client.responses.create(**ASK, store=False)
        assert created.model_extra["store"] is False
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(created.id)

    async def test_what_is_too_large_is_not_kept_and_says_so(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"] = Scripted("x" * 1_000_000)
        created = await client.responses.create(**ASK | {"model": "t"}, store=True)
        assert (created.status, created.model_extra["store"]) == ("completed", False)

    async def test_a_long_conversation_is_refused(self, client: openai.AsyncOpenAI, service: FakeService):
        many: Any = [{"role": "user", "content": "Hi"}] * 2047
        created = await client.responses.create(model="default", input=many)
        more = await client.responses.create(**ASK | {"input": many[:1]})
        assert more.status == "completed"
        with pytest.raises(openai.BadRequestError, match="makes 2049 messages with the earlier ones, at most 2048"):
            await client.responses.create(**ASK, previous_response_id=created.id)


class TestOff:
    @pytest.fixture
    def service(self) -> FakeService:
        service = FakeService()
        service.responses = None
        return service

    async def test_what_needs_it_is_refused_by_name(self, http: httpx.AsyncClient, service: FakeService):
        for fields in ({"store": True}, {"previous_response_id": "resp_1"}):
            [field] = fields
            assert await refused(http, **fields) == (
                f"{field}: this server keeps no responses (router.responses.store_entries: 0).",
                field,
            )
        assert not service.runs

    async def test_the_rest_is_answered_and_not_kept(self, http: httpx.AsyncClient):
        for fields in ({}, {"store": False}):
            body = (await http.post(PATH, json=ASK | fields)).json()
            assert (body["status"], body["store"]) == ("completed", False)
            assert (await http.get(f"{PATH}/{body['id']}")).status_code == 404
