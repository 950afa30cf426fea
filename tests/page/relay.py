"""What stands between a browser and a server, so that a test can break the connection."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit


class Relay(ThreadingTCPServer):
    """Passes bytes on, both ways; `cut` ends all connections, `server_close` refuses new ones."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        address = urlsplit(url)
        self.target = (address.hostname, address.port)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.open: set[socket.socket] = set()

    def cut(self) -> None:
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Stop, as a server that has ended does."""
        self.shutdown()
        self.server_close()
        self.cut()


class _Connection(BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Relay)
        ends = {self.request, socket.create_connection(self.server.target)}
        self.server.open |= ends
        near, far = ends
        back = threading.Thread(target=_pass, args=(far, near), daemon=True)
        back.start()
        _pass(near, far)
        back.join()
        self.server.open -= ends
        far.close()
        near.close()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relaying(url: str) -> Iterator[Relay]:
    """Yield a relay to the server at `url`."""
    with Relay(url) as relay:
        threading.Thread(target=relay.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield relay
        finally:
            relay.shutdown()
            relay.cut()
