"""The HTTP surface: each API's own paths, models, health."""

from typing import Any

from fastapi import FastAPI, Request, Response

from serve_app import __version__
from serve_app.api.chat import routes as chat
from serve_app.api.embeddings import routes as embeddings
from serve_app.api.encoding import Reply
from serve_app.api.errors import handlers as errors
from serve_app.api.head_requests import HeadMiddleware
from serve_app.api.intake.caller import caller_of
from serve_app.api.intake.route import CompletionRoute
from serve_app.api.messages import routes as messages
from serve_app.api.messages.dialect import speaks_anthropic
from serve_app.api.messages.models import model_info, model_page
from serve_app.api.reference import routes as reference
from serve_app.api.responses import routes as responses
from serve_app.api.service import ModelCard, Service, card_of, cards_for


def build_api(service: Service) -> FastAPI:
    """Build the application that serves `service` over HTTP."""
    app = FastAPI(
        title="semantic-cascade",
        version=__version__,
        description=_DESCRIPTION,
        responses=_ERRORS,
        docs_url=None,  # FastAPI's pages load their scripts from other sites
        redoc_url=None,
    )
    app.state.service = service
    app.router.route_class = CompletionRoute
    errors.install(app)
    app.add_middleware(HeadMiddleware)
    chat.install(app, service)
    responses.install(app, service)
    messages.install(app, service)
    embeddings.install(app, service)
    reference.install(app)

    @app.get("/v1/models", summary="Every cascade and every single model")
    async def models(request: Request) -> dict[str, Any]:
        cards = cards_for(service, caller_of(request.scope))
        if speaks_anthropic(request.scope):
            return model_page([card for card in cards if card.kind != "embedding"])
        return {"object": "list", "data": [_card(card) for card in cards]}

    @app.get("/v1/models/{model_id}", summary="One cascade or model")
    async def model(model_id: str, request: Request) -> dict[str, Any]:
        card = card_of(service, model_id, caller_of(request.scope))
        return model_info(card) if speaks_anthropic(request.scope) else _card(card)

    @app.get("/healthz", summary="Alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether every tier of every cascade can answer")
    async def readyz(request: Request) -> Response:
        state = await service.readiness()
        details = state.details if caller_of(request.scope).operator else {}
        return Reply({"ready": state.ready, **details}, 200 if state.ready else 503)

    return app


_DESCRIPTION = """Several small models answer at once; if they agree, one answer goes back; else a larger model answers.

The dialect is OpenAI's, and Anthropic's under `/v1/messages`. `cascade` in a request changes how it is decided;
`cascade` in a response says how it was."""

_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request cannot be honoured; the API's own error body has the reason."},
    "5XX": {"description": "The server, or the last model that was asked, failed; with the API's own error body."},
}


def _card(card: ModelCard) -> dict[str, Any]:
    return {"id": card.id, "object": "model", "created": 0, "owned_by": "semantic-cascade", "kind": card.kind} | {
        "cascade" if card.kind == "cascade" else "details": card.details
    }
