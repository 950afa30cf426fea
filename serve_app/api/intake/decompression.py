"""Compressed request bodies: `Content-Encoding: gzip` and `zstd`, decompressed within the limit of a body's size."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import zstandard
from starlette.exceptions import HTTPException

from serve_app.errors import RequestError, quoted

SLICE_BYTES = 256
"""Compressed bytes read at once: zstd makes at most 8 MB of them, gzip 256 kB, so a bomb stops soon after the limit."""
MAX_MEMBERS = 64
"""Members (gzip) or frames (zstd) of one body; each costs a new decompressor, however short it is."""
MAX_WINDOW_BYTES = 8 * 1024 * 1024
"""RFC 9659 allows no larger window for zstd over HTTP."""


class _Decompressor(Protocol):
    """Decompresses one member; `unused_data` is what follows its end."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _gzip() -> _Decompressor:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


def _zstd() -> _Decompressor:
    return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).decompressobj()


SUPPORTED: Mapping[str, Callable[[], _Decompressor]] = {"gzip": _gzip, "zstd": _zstd}
ALIASES = {"x-gzip": "gzip"}


def requested_encoding(headers: Sequence[str]) -> str | None:
    """Return the encoding that the `Content-Encoding` headers name, or None for none or `identity`.

    Raises `HTTPException` (415) for an unknown encoding, or several.
    """
    names = [name for header in headers for part in header.split(",") if (name := part.strip().lower())]
    encodings = [ALIASES.get(name, name) for name in names if name != "identity"]
    if not encodings:
        return None
    if len(encodings) == 1 and encodings[0] in SUPPORTED:
        return encodings[0]
    problem = "is not supported" if len(encodings) == 1 else "names several encodings"
    message = f"Content-Encoding: {quoted(', '.join(names))} {problem}. Use {' or '.join(SUPPORTED)}."
    raise HTTPException(415, message, {"accept-encoding": ", ".join(SUPPORTED), "connection": "close"})


def decompressed(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return the body without its encoding.

    Raises `HTTPException` (413) as soon as it is above `max_bytes`, and `RequestError` if it is damaged or cut off.
    """
    text = bytearray()
    try:
        for part in _parts(body, SUPPORTED[encoding]):
            text += part
            if len(text) > max_bytes:
                raise HTTPException(413, f"The decompressed request body is larger than {max_bytes} bytes.")
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        raise RequestError(f"The request body is not valid {encoding}: {_reason(error)}.") from None
    return bytes(text)


def _parts(body: bytes, new: Callable[[], _Decompressor]) -> Iterator[bytes]:
    decompressor, members = new(), 1
    for start in range(0, len(body), SLICE_BYTES):
        data = body[start : start + SLICE_BYTES]
        while data:
            if decompressor.eof:
                decompressor, members = new(), members + 1
            if members > MAX_MEMBERS:
                raise EOFError(f"it has more than {MAX_MEMBERS} parts")
            yield decompressor.decompress(data)
            data = decompressor.unused_data
    if not decompressor.eof:
        raise EOFError("it ends too early")


def _reason(error: Exception) -> str:
    """Return a library's message after its own name, such as `incorrect header check`."""
    return str(error).rpartition(": ")[2]
