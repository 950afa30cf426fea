"""Log-probabilities of an answer's tokens, as OpenAI's APIs write them."""

from collections.abc import Iterable

from serve_app.core.record_json import JsonObject
from serve_app.core.text.characters import utf8
from serve_app.core.types.answer import TokenLogprob


def logprobs_json(logprobs: Iterable[TokenLogprob]) -> list[JsonObject]:
    """Return the tokens with their log-probabilities, and with the likeliest alternatives if requested."""
    return [
        _token(item) | {"top_logprobs": [_token(alternative) for alternative in item.alternatives]} for item in logprobs
    ]


def _token(item: TokenLogprob) -> JsonObject:
    return {"token": item.token, "logprob": item.logprob, "bytes": list(utf8(item.token))}
