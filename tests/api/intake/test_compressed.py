"""Compressed request bodies: read within the limits; what is damaged, too large or unknown is refused in a sentence."""

import gzip
import json
import random
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
import zstandard

from serve_app.api.fields.body import Body
from serve_app.api.intake.decompression import SUPPORTED
from serve_app.api.intake.route import CompletionRoute
from serve_app.api.routes import build_api
from tests.api.serving import FakeService

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "default", "messages": [{"role": "user", "content": "Grüße " * 3000}]}).encode()
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstandard.compress}
NAMES = pytest.mark.parametrize("name", COMPRESS)
MAX_BOMB_S = 2.0
"""Of the process's own time. A bomb that is not cut off takes a minute and 10 GB."""


def headers(encoding: str) -> dict[str, str]:
    return {"content-type": "application/json", "content-encoding": encoding}


async def post(http: httpx.AsyncClient, body: bytes, encoding: str) -> httpx.Response:
    return await http.post(CHAT, content=body, headers=headers(encoding))


def complaint(response: httpx.Response, status: int) -> str:
    assert response.status_code == status
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    message: str = error["message"]
    return message


def content(service: FakeService) -> str:
    return service.models["a"].prompts[-1].messages[0].content


@NAMES
async def test_a_compressed_body_is_read(http: httpx.AsyncClient, service: FakeService, name: str):
    response = await post(http, COMPRESS[name](BODY), name)
    assert response.status_code == 200, response.text
    assert content(service) == "Grüße " * 3000


@NAMES
async def test_over_a_real_connection_in_chunks(url: str, service: FakeService, name: str):
    compressed = COMPRESS[name](BODY)

    async def slowly():
        for start in range(0, len(compressed), 7):
            yield compressed[start : start + 7]

    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        response = await http.post(CHAT, content=slowly(), headers=headers(name))
    assert response.status_code == 200, response.text
    assert content(service) == "Grüße " * 3000


@pytest.mark.parametrize("encoding", ["GZip", " x-gzip ", "identity, gzip", "gzip,"])
async def test_names_of_encodings_as_clients_write_them(http: httpx.AsyncClient, encoding: str):
    assert (await post(http, gzip.compress(BODY), encoding)).status_code == 200


@pytest.mark.parametrize("encoding", ["identity", "", "Identity, identity"])
async def test_identity_is_no_encoding(http: httpx.AsyncClient, encoding: str):
    assert (await post(http, BODY, encoding)).status_code == 200


@NAMES
async def test_several_members_are_one_body(http: httpx.AsyncClient, name: str):
    parts = [BODY[:1000], b"", BODY[1000:5000], BODY[5000:]]
    assert (await post(http, b"".join(map(COMPRESS[name], parts)), name)).status_code == 200
    many = COMPRESS[name](b"") * 200_000
    begun = time.process_time()
    message = complaint(await post(http, many, name), 400)
    assert message == f"The request body is not valid {name}: it has more than 64 parts."
    assert time.process_time() - begun < MAX_BOMB_S


@NAMES
async def test_the_limit_is_for_the_decompressed_body(http: httpx.AsyncClient, service: FakeService, name: str):
    service.limits = replace(service.limits, max_body_bytes=len(BODY))
    assert (await post(http, COMPRESS[name](BODY), name)).status_code == 200
    too_large = await post(http, COMPRESS[name](BODY + b" "), name)
    assert complaint(too_large, 413) == f"The decompressed request body is larger than {len(BODY)} bytes."


async def test_the_limit_is_for_the_compressed_body_too(http: httpx.AsyncClient, service: FakeService):
    service.limits = replace(service.limits, max_body_bytes=1000)
    response = await post(http, gzip.compress(random.Random(0).randbytes(1001)), "gzip")
    assert complaint(response, 413) == "The request body is larger than 1000 bytes."


def gzip_bomb() -> bytes:
    """Return one block of 10 MB of zeros, again and again: 4 GB in 3.9 MB."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = compressor.compress(bytes(10_000_000)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + block * (3_900_000 // len(block))


def zstd_bomb() -> bytes:
    """Return one frame of blocks that repeat a byte 131,072 times: 4 bytes each."""
    block = struct.pack("<I", 131072 << 3 | 1 << 1)[:3] + b"0"
    return b"\x28\xb5\x2f\xfd\x00\x58" + block * 900_000


@pytest.mark.parametrize(("name", "bomb"), [("gzip", gzip_bomb()), ("zstd", zstd_bomb())], ids=["gzip", "zstd"])
async def test_a_bomb_is_cut_off_at_the_limit(http: httpx.AsyncClient, service: FakeService, name: str, bomb: bytes):
    begun = time.process_time()
    response = await post(http, bomb, name)
    assert complaint(response, 413) == "The decompressed request body is larger than 4000000 bytes."
    assert time.process_time() - begun < MAX_BOMB_S
    assert not service.runs


def empty_blocks() -> dict[str, bytes]:
    """Return bodies of 3.9 MB without content: empty blocks."""
    return {
        "gzip": b"\x1f\x8b\x08" + bytes(6) + b"\xff" + b"\x00\x00\x00\xff\xff" * 780_000,
        "zstd": b"\x28\xb5\x2f\xfd\x00\x58" + b"\x00\x00\x00" * 1_300_000,
    }


@NAMES
async def test_blocks_without_content_end_too(http: httpx.AsyncClient, name: str):
    begun = time.process_time()
    response = await post(http, empty_blocks()[name], name)
    assert complaint(response, 400) == f"The request body is not valid {name}: it ends too early."
    assert time.process_time() - begun < MAX_BOMB_S


def flipped(body: bytes) -> bytes:
    return body[:-6] + bytes([body[-6] ^ 1]) + body[-5:]


def checked(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(body)


def wide(body: bytes) -> bytes:
    """Return a frame that needs a window of 128 MB."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(body) + compressor.flush()


DAMAGED = {
    "gzip, cut off": ("gzip", gzip.compress(BODY)[:-4], "it ends too early"),
    "gzip, header only": ("gzip", gzip.compress(BODY)[:10], "it ends too early"),
    "gzip, flipped": ("gzip", flipped(gzip.compress(BODY)), "incorrect data check"),
    "gzip, plain JSON": ("gzip", BODY, "incorrect header check"),
    "gzip, zlib's form": ("gzip", zlib.compress(BODY), "incorrect header check"),
    "gzip, followed by something": ("gzip", gzip.compress(BODY) + b"\n{}", "incorrect header check"),
    "gzip, really zstd": ("gzip", zstandard.compress(BODY), "incorrect header check"),
    "zstd, cut off": ("zstd", zstandard.compress(BODY)[:-4], "it ends too early"),
    "zstd, flipped": ("zstd", checked(BODY)[:-1] + b"\x00", "Restored data doesn't match checksum"),
    "zstd, plain JSON": ("zstd", BODY, "Unknown frame descriptor"),
    "zstd, really gzip": ("zstd", gzip.compress(BODY), "Unknown frame descriptor"),
    "zstd, a wide window": ("zstd", wide(BODY), "Frame requires too much memory for decoding"),
}


@pytest.mark.parametrize("name", DAMAGED)
async def test_a_damaged_stream_is_a_400(http: httpx.AsyncClient, service: FakeService, name: str):
    encoding, body, reason = DAMAGED[name]
    message = complaint(await post(http, body, encoding), 400)
    assert message == f"The request body is not valid {encoding}: {reason}."
    assert not service.runs


async def test_a_cut_or_changed_stream_is_never_a_5xx(http: httpx.AsyncClient):
    chance = random.Random(0)
    for name, compress in COMPRESS.items():
        whole = compress(BODY)
        for _ in range(100):
            body = bytearray(whole)
            for _ in range(chance.randint(1, 4)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            response = await post(http, bytes(body[: chance.choice([len(body), chance.randrange(len(body))])]), name)
            assert response.status_code in (200, 400, 413), response.text


@pytest.mark.parametrize("encoding", ["br", "deflate", "compress", "none", "gzip, zstd", "gzip, gzip", "x" * 5000])
async def test_other_encodings_are_a_415_that_lists_the_supported_ones(
    http: httpx.AsyncClient, service: FakeService, encoding: str
):
    response = await post(http, BODY, encoding)
    message = complaint(response, 415)
    several = "," in encoding
    assert message.startswith("Content-Encoding: '")
    assert message.endswith(("names several encodings." if several else "is not supported.") + " Use gzip or zstd.")
    assert len(message) < 200
    assert response.headers["accept-encoding"] == "gzip, zstd"
    assert not service.runs


async def test_a_header_that_is_there_twice_names_several(http: httpx.AsyncClient):
    twice = [("content-type", "application/json"), ("content-encoding", "gzip"), ("content-encoding", "zstd")]
    response = await http.post(CHAT, content=BODY, headers=twice)
    assert "'gzip, zstd' names several encodings." in complaint(response, 415)


async def test_answers_are_not_compressed(http: httpx.AsyncClient):
    response = await http.post(CHAT, content=BODY, headers=headers("identity") | {"accept-encoding": "gzip, zstd, br"})
    assert "content-encoding" not in response.headers


def test_every_body_is_received_by_our_own_route(service: FakeService):
    """FastAPI's own routes say of every broken body that there was an error parsing it, and decompress none."""
    routes = [route for route in build_api(service).routes if getattr(route, "body_field", None) is not None]
    assert routes
    for route in routes:
        assert isinstance(route, CompletionRoute)
        assert route.body_field is not None
        model = route.body_field.field_info.annotation
        assert isinstance(model, type)
        assert issubclass(model, Body)


def test_every_supported_encoding_is_tested():
    assert SUPPORTED.keys() == COMPRESS.keys()
