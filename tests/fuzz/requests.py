"""Generated requests: valid ones, mutated ones, damaged ones, with odd headers and encodings."""

import gzip
import json
from dataclasses import dataclass
from random import Random
from typing import Any

import zstandard
from fastapi import FastAPI

from tests.fuzz.mutations import damaged, mutated
from tests.fuzz.values import Generator, anything

JSON_TYPE = "application/json"
TYPES = (
    *("application/json; charset=utf-8", "APPLICATION/JSON", "application/problem+json", "text/plain", "", "json"),
    *(
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "a/b/c;;=",
    ),
)
ODD_HEADERS = (
    *(("accept", "image/png"), ("accept-encoding", "gzip"), ("authorization", "Bearer \xff"), ("cookie", "a=b; =;;")),
    *(("traceparent", "00-0-0-0"), ("tracestate", "x" * 600), ("expect", "something"), ("x-request-id", "a b")),
    *(
        ("origin", "null"),
        ("x-" + "n" * 500, "v" * 5000),
        ("content-encoding", "br"),
        ("content-encoding", "gzip, zstd"),
    ),
    *(("content-encoding", "identity"), ("content-encoding", "gzip"), ("range", "bytes=0-1"), ("if-match", "*")),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; `kind` is how it was made."""

    kind: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes


EMBEDDINGS = "/v1/embeddings"


def endpoints(app: FastAPI) -> list[tuple[str, Any]]:
    """Return every path that takes a body, with its model, so that a new endpoint is asked without another line."""
    fields = ((route, getattr(route, "body_field", None)) for route in app.routes)
    return [(route.path, field.field_info.annotation) for route, field in fields if field is not None]


class Requests:
    """Makes the request of a number, always the same."""

    def __init__(self, app: FastAPI) -> None:
        self._generators = [(path, Generator(model.model_json_schema())) for path, model in endpoints(app)]

    def __call__(self, number: int) -> Asked:
        random = Random(number)
        path, generator = random.choice(self._generators)
        value = generator.body(random)
        if path == EMBEDDINGS and value.get("model") == "default":
            value["model"] = "encoder"  # cascades give no embeddings
        headers = [("content-type", JSON_TYPE)]
        kind = random.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == "mutated":
            value = mutated(value, random)
        elif kind == "any JSON":
            value = anything(random)
        body = json.dumps(value, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
        if kind == "damaged":
            body = damaged(body, random)
        elif kind == "another type":
            headers = [("content-type", random.choice(TYPES))]
        elif kind == "odd headers":
            headers += random.sample(ODD_HEADERS, random.randint(1, 4))
        elif kind == "compressed":
            encoding, body = compressed(body, random)
            headers.append(("content-encoding", encoding))
        return Asked(kind, path, headers, body)


KINDS = {
    "valid": 40,
    "mutated": 22,
    "any JSON": 4,
    "damaged": 14,
    "another type": 4,
    "odd headers": 6,
    "compressed": 10,
}
"""Ways to make a request, with their weights."""


def compressed(body: bytes, random: Random) -> tuple[str, bytes]:
    """Compress a body, and damage one in three."""
    encoding = random.choice(("gzip", "zstd"))
    packed = gzip.compress(body, 1) if encoding == "gzip" else zstandard.compress(body, 1)
    if random.random() < 0.33:
        packed = damaged(packed[:200], random) if random.random() < 0.5 else packed[: random.randrange(len(packed))]
    return encoding, packed
