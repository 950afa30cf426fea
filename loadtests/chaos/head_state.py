"""A Redis for what Ray's head knows, so that the head can be killed and started again."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from loadtests.ports import free_port

STARTS_S = 10.0


@contextmanager
def redis() -> Iterator[bool]:
    """Run a Redis for the body, which Ray started in it uses, and give whether `redis-server` is installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield False
        return
    port = free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    # What it has is in its memory: it outlives the head, and nothing else has to.
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    settings = {"RAY_REDIS_ADDRESS": f"127.0.0.1:{port}", "RAY_external_storage_namespace": uuid4().hex}
    try:
        _wait_until_listening(port)
        os.environ |= settings
        yield True
    finally:
        for name in settings:
            os.environ.pop(name, None)
        server.terminate()
        server.wait()


def _wait_until_listening(port: int) -> None:
    deadline = time.monotonic() + STARTS_S
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"redis-server did not listen on port {port} within {STARTS_S:.0f} s.")
        time.sleep(0.05)
