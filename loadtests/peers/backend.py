"""An OpenAI-compatible server that replays one answer, plain or streamed, at once: what a proxy adds is all that shows.

python -m loadtests.peers.backend PORT
"""

import json
import sys

from aiohttp import web

WORDS = [f" word{number}" for number in range(32)]
USAGE = {"prompt_tokens": 16, "completion_tokens": len(WORDS), "total_tokens": 16 + len(WORDS)}


def _body(**choice: object) -> dict[str, object]:
    return {
        "id": "chatcmpl-replay",
        "created": 0,
        "model": "replay",
        "choices": [{"index": 0, "finish_reason": None, **choice}],
    }


ANSWER = json.dumps(
    _body(message={"role": "assistant", "content": "".join(WORDS)}, finish_reason="stop")
    | {"object": "chat.completion", "usage": USAGE}
)
CHUNKS = [
    *(_body(delta={"role": "assistant", "content": word}) | {"object": "chat.completion.chunk"} for word in WORDS),
    _body(delta={}, finish_reason="stop") | {"object": "chat.completion.chunk"},
    _body(delta={}) | {"object": "chat.completion.chunk", "choices": [], "usage": USAGE},
]
EVENTS = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in CHUNKS] + [b"data: [DONE]\n\n"]


async def complete(request: web.Request) -> web.StreamResponse:
    """Answer a chat completion."""
    body = await request.json()
    if not body.get("stream"):
        return web.Response(text=ANSWER, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in EVENTS:
        await response.write(event)
    await response.write_eof()
    return response


def application() -> web.Application:
    """Return the server's application."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    return app


def main() -> None:
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
