"""A port for a server that starts only later."""

import socket
from random import SystemRandom

PORTS = range(20_000, 30_000)
"""Below those that the kernel gives away: of these, Ray's processes may take one before the server is there."""


def free_port() -> int:
    """Return a port of this machine's own address that is free now."""
    for port in SystemRandom().sample(PORTS, min(100, len(PORTS))):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"No port from {PORTS.start} to {PORTS.stop - 1} is free.")
