"""The paths of Anthropic's messages."""

from fastapi import FastAPI, Request, Response

from serve_app.api.answering.respond import respond
from serve_app.api.encoding import Reply
from serve_app.api.intake.caller import caller_of
from serve_app.api.messages.format import MessageFormat
from serve_app.api.messages.prompt import to_ask, to_prompt
from serve_app.api.messages.schema import MessageRequest, TokenCount
from serve_app.api.service import Service, card_of
from serve_app.core.cost import estimated_prompt_tokens
from serve_app.core.types.prompt import Sampling


def install(app: FastAPI, service: Service) -> None:
    """Make the app answer `/v1/messages` and `/v1/messages/count_tokens`."""

    @app.post("/v1/messages", summary="Ask a cascade, or a single model, in the words of Anthropic's API")
    async def messages(body: MessageRequest, request: Request) -> Response:
        return await respond(service, to_ask(body), MessageFormat(body), request)

    @app.post("/v1/messages/count_tokens", summary="Estimate the tokens of a conversation, without asking a model")
    async def count_tokens(body: TokenCount, request: Request) -> Response:
        card_of(service, body.model, caller_of(request.scope))
        return Reply({"input_tokens": estimated_prompt_tokens(to_prompt(body, Sampling()))})
