"""The faults: each is caused when its body begins, and taken back when it ends."""

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import TypeAlias
from urllib.parse import urlsplit

from loadtests.chaos.backend import MODES, Backend, Mode
from loadtests.chaos.raylets import CONTROLLER, MEMBER, PROXY, Raylets

UNFINISHED = 20
"""Requests whose bodies never end."""
DISK, HEAD = "disk full", "head restarted"


@dataclass(frozen=True)
class World:
    """What faults are done to."""

    raylets: Raylets
    backend: Backend


Fault: TypeAlias = Callable[[World, Random], AbstractContextManager[str]]
"""Its body is given what exactly was broken."""


def _misbehaves(model: str, mode: Mode) -> Fault:
    @contextmanager
    def fault(world: World, _: Random) -> Iterator[str]:
        world.backend.modes[model] = mode
        try:
            yield model
        finally:
            world.backend.modes[model] = "fine"

    return fault


def _killed(part: str) -> Fault:
    @contextmanager
    def fault(world: World, chance: Random) -> Iterator[str]:
        yield world.raylets.kill(part, chance)

    return fault


@contextmanager
def _head_restarted(world: World, _: Random) -> Iterator[str]:
    killed = world.raylets.kill_head()
    try:
        yield killed
    finally:
        world.raylets.start_head()


@contextmanager
def _node_lost(world: World, chance: Random) -> Iterator[str]:
    name = world.raylets.lose_node(chance)
    try:
        yield name
    finally:
        world.raylets.add_node()


@contextmanager
def _file_corrupt(world: World, chance: Random) -> Iterator[str]:
    """Damage what a member cannot start without, and kill it."""
    records = world.raylets.records
    whole = records.read_bytes()
    records.write_bytes(b"\x00\xff{" + whole[::-1])
    try:
        yield world.raylets.kill(MEMBER, chance)
    finally:
        records.write_bytes(whole)


@contextmanager
def _disk_full(world: World, _: Random) -> Iterator[str]:
    filler = world.raylets.session / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):  # no room for so much any more
                    while True:
                        file.write(bytes(size))
        yield f"{filler.stat().st_size / 1e6:.0f} MB filled"
    finally:
        filler.unlink(missing_ok=True)


@contextmanager
def _threshold_changed(world: World, chance: Random) -> Iterator[str]:
    threshold = round(chance.uniform(0.5, 0.95), 2)
    world.raylets.change_threshold(threshold)
    yield f"{threshold}"


@contextmanager
def _unfinished_bodies(world: World, _: Random) -> Iterator[str]:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    sockets = []
    try:
        for number in range(UNFINISHED):
            url = urlsplit(world.raylets.urls()[number % len(world.raylets.urls())])
            try:
                connection = socket.create_connection((url.hostname or "", url.port or 80), timeout=2)
            except OSError:  # a proxy that is not back yet
                continue
            sockets.append(connection)
            connection.sendall(head + b"Content-Length: 1000\r\n\r\n{")
        yield f"{len(sockets)} connections"
    finally:
        for connection in sockets:
            connection.close()


FAULTS: dict[str, Fault] = {
    **{f"member: {mode}": _misbehaves("second", mode) for mode in MODES},
    **{f"target: {mode}": _misbehaves("target", mode) for mode in MODES},
    "member killed": _killed(MEMBER),
    "target killed": _killed("#target#"),
    "scorer killed": _killed("#Scorer#"),
    "router killed": _killed("#Router#"),
    "proxy killed": _killed(PROXY),
    "controller killed": _killed(CONTROLLER),
    "node lost": _node_lost,
    HEAD: _head_restarted,
    "file corrupt": _file_corrupt,
    DISK: _disk_full,
    "threshold deployed": _threshold_changed,
    "unfinished bodies": _unfinished_bodies,
}
