"""A Redis for what Ray's head knows, so that the head can be killed and started again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from loadtests.ports import free_port
from loadtests.redis_server import installed, redis_server


@contextmanager
def redis() -> Iterator[bool]:
    """Run a Redis for the body, which Ray started in it uses, and give whether `redis-server` is installed."""
    if not installed():
        yield False
        return
    port = free_port()
    settings = {"RAY_REDIS_ADDRESS": f"127.0.0.1:{port}", "RAY_external_storage_namespace": uuid4().hex}
    # What it has is in its memory: it outlives the head, and nothing else has to.
    with redis_server(port):
        os.environ |= settings
        try:
            yield True
        finally:
            for name in settings:
                os.environ.pop(name, None)
