"""The path of OpenAI's embeddings."""

import struct
from base64 import b64encode
from collections.abc import Sequence

from fastapi import FastAPI, Request, Response

from serve_app.api.answering.exchange import while_connected
from serve_app.api.embeddings.schema import EmbeddingRequest
from serve_app.api.encoding import Reply
from serve_app.api.intake.caller import Caller, caller_of
from serve_app.api.intake.route import CLIENT_LEFT
from serve_app.api.service import Service, cards_for, unknown_model
from serve_app.core.cost import estimated_tokens
from serve_app.core.record_json import JsonObject
from serve_app.core.types.scores import Embedding
from serve_app.errors import RequestError, choices, quoted

NUMBER_BYTES = 4
"""Of a float32 in a vector."""


def install(app: FastAPI, service: Service) -> None:
    """Make the app answer `/v1/embeddings`."""

    @app.post("/v1/embeddings", summary="Embed texts by the encoder of an sbert signal")
    async def embeddings(body: EmbeddingRequest, request: Request) -> Response:
        caller = caller_of(request.scope)
        _require_encoder(service, body.model, caller)
        embedded = None
        try:
            embedded = await while_connected(request.receive, service.embed(body.model, body.texts))
        finally:  # the encoder finishes what it has begun, even if its client left
            tokens = (
                map(estimated_tokens, body.texts) if embedded is None else (embedding.tokens for embedding in embedded)
            )
            caller.spend(sum(tokens))
        if embedded is None:
            return Response(status_code=CLIENT_LEFT)
        dimensions = len(embedded[0].vector) // NUMBER_BYTES
        if body.dimensions not in (None, dimensions):
            raise RequestError(f"dimensions: must be {dimensions}, got {body.dimensions}.", "dimensions")
        return Reply(_response(body, embedded))


def _require_encoder(service: Service, model: str, caller: Caller) -> None:
    """Raise `UnknownModelError` unless the id is that of an encoder that the caller may ask for."""
    encoders = [card.id for card in cards_for(service, caller) if card.kind == "embedding"]
    if model not in encoders:
        available = choices(model, encoders) if encoders else "No sbert signal of the config may be asked for."
        raise unknown_model(f"There is no encoder {quoted(model)}. {available}", caller)


def _response(body: EmbeddingRequest, embedded: Sequence[Embedding]) -> JsonObject:
    encode = _base64 if body.encoding_format == "base64" else _numbers
    tokens = sum(embedding.tokens for embedding in embedded)
    return {
        "object": "list",
        "model": body.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(embedding.vector)}
            for index, embedding in enumerate(embedded)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _base64(vector: bytes) -> str:
    return b64encode(vector).decode()


def _numbers(vector: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(vector) // NUMBER_BYTES}f", vector))
