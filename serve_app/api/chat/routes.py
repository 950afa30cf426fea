"""The paths of OpenAI's completions."""

from fastapi import FastAPI, Request, Response

from serve_app.api.answering.respond import respond
from serve_app.api.chat.format import CompletionFormat
from serve_app.api.chat.prompt import to_ask, to_asks
from serve_app.api.chat.schema import ChatCompletion, TextCompletion
from serve_app.api.chat.several import respond_to_all
from serve_app.api.service import Service


def install(app: FastAPI, service: Service) -> None:
    """Make the app answer `/v1/chat/completions` and `/v1/completions`."""

    @app.post("/v1/chat/completions", summary="Ask a cascade, or a single model, with chat messages")
    async def chat_completions(body: ChatCompletion, request: Request) -> Response:
        return await respond(service, to_ask(body, service.names), CompletionFormat(body), request)

    @app.post("/v1/completions", summary="Ask with raw prompts that no chat template touches")
    async def completions(body: TextCompletion, request: Request) -> Response:
        asks, form = to_asks(body), CompletionFormat(body)
        if len(asks) > 1:
            return await respond_to_all(service, asks, form, request)
        return await respond(service, asks[0], form, request)
