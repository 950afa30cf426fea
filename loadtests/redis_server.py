"""A Redis on this machine, in memory only."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STARTS_S = 60.0


def installed() -> bool:
    """Return whether there is a `redis-server` to start."""
    return shutil.which("redis-server") is not None


@contextmanager
def redis_server(port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Redis on a port of this machine's own address, for the body."""
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_listening(server, port)
        yield server
    finally:
        server.kill()  # also ends one that was stopped
        server.wait()


def _wait_until_listening(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + STARTS_S
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"redis-server does not listen on port {port}.")
        time.sleep(0.05)
