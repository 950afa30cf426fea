"""The paths of OpenAI's responses."""

from collections.abc import Sequence

from fastapi import FastAPI, Request, Response

from serve_app.api.answering.respond import respond
from serve_app.api.encoding import Reply, encoded
from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.errors.shape import error_reply
from serve_app.api.intake.caller import caller_of
from serve_app.api.responses.format import Keep, ResponsesFormat
from serve_app.api.responses.prompt import answer_message, conversation_of, to_ask
from serve_app.api.responses.schema import ResponseRequest
from serve_app.api.responses.store import KeptResponse, ResponseStore
from serve_app.api.service import Service
from serve_app.core.record_json import JsonObject
from serve_app.core.types.answer import Generation
from serve_app.core.types.prompt import Message
from serve_app.errors import RequestError, quoted


def install(app: FastAPI, service: Service) -> None:
    """Make the app answer `/v1/responses`, over the service's store."""
    store = service.responses

    @app.post("/v1/responses", summary="Ask with items of a conversation; answers can be kept and continued")
    async def create(body: ResponseRequest, request: Request) -> Response:
        owner = caller_of(request.scope).name
        earlier = await _earlier(store, body, owner)
        conversation = conversation_of(body.items, earlier, service.limits.max_messages)
        form = ResponsesFormat(body, _keep_in(store, owner, conversation) if body.store is not False else None)
        return await respond(service, to_ask(body, conversation), form, request)

    @app.get("/v1/responses/{response_id}", summary="A response that is kept")
    async def retrieve(response_id: str, request: Request, stream: bool = False) -> Response:
        if stream:
            raise RequestError("stream: a kept response is not streamed again; use false.", "stream")
        body = await store.body((caller_of(request.scope).name, response_id)) if store else None
        if body is None:
            return _not_kept(response_id, request)
        return Response(body, media_type="application/json")

    @app.delete("/v1/responses/{response_id}", summary="Forget a response")
    async def delete(response_id: str, request: Request) -> Response:
        if store is None or not await store.delete((caller_of(request.scope).name, response_id)):
            return _not_kept(response_id, request)
        return Reply({"id": response_id, "object": "response", "deleted": True})


def _keep_in(store: ResponseStore | None, owner: str | None, conversation: tuple[Message, ...]) -> Keep | None:
    """Return the function that keeps a response with its conversation, or None if there is no store."""
    if store is None:
        return None

    async def keep(id_: str, response: JsonObject, answer: Generation) -> bool:
        kept_response = KeptResponse(encoded(response), (*conversation, answer_message(answer)))
        return await store.put((owner, id_), kept_response)

    return keep


async def _earlier(store: ResponseStore | None, body: ResponseRequest, owner: str | None) -> Sequence[Message]:
    """Return the conversation that the request continues. Raises `RequestError` if it is not kept."""
    previous = body.previous_response_id
    if store is None:
        for field, is_set in (("store", body.store), ("previous_response_id", previous is not None)):
            if is_set:
                message = f"{field}: this server keeps no responses (router.responses.store_entries: 0)."
                raise RequestError(message, field)
    if previous is None or store is None:
        return ()
    kept_response = await store.get((owner, previous))
    if kept_response is None:
        message = f"previous_response_id: no response {quoted(previous)} is kept here (any longer)."
        raise RequestError(message, "previous_response_id", "previous_response_not_found")
    return kept_response.conversation


def _not_kept(response_id: str, request: Request) -> Response:
    detail = ErrorDetail(404, f"No response {quoted(response_id)} is kept here (any longer).", param="response_id")
    return error_reply(detail, request.scope)
