"""The files of all that pip installs into the image: each package's version, and the hashes of the wheels that fit."""

import re
from pathlib import Path
from typing import NamedTuple, TypeAlias

HERE = Path(__file__).parent
BLEURT = "bleurt"
HEADS = {
    "cpu": "All that is installed into the image without vLLM",
    "gpu": "All that is installed into the image with vLLM",
    BLEURT: "What BLEURT's environment has instead of the image's",
}


class Pin(NamedTuple):
    """One version of a package, and the SHA-256 of each of its wheels that pip may take."""

    version: str
    hashes: frozenset[str]


Lock: TypeAlias = dict[str, Pin]
"""Pins by the packages' names."""


def lock_file(name: str) -> Path:
    """Return where a lock is, in the format of requirements."""
    return HERE / f"requirements-{name}.txt"


def read(name: str) -> Lock:
    """Return a lock; empty if it does not exist yet."""
    path = lock_file(name)
    return parsed(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(name: str, lock: Lock) -> None:
    """Write a lock."""
    head = f"# {HEADS[name]}, for Linux on x86_64. Made anew by make image-lock.\n"
    lock_file(name).write_text(head + text(lock), encoding="utf-8")


def parsed(requirements: str) -> Lock:
    """Return the pins of a file of requirements."""
    entries = re.findall(r"^([\w.-]+)==([^\s;]+)((?: \\\n +--hash=sha256:\w+)*)$", requirements, re.MULTILINE)
    return {package: Pin(version, frozenset(re.findall(r"sha256:(\w+)", rest))) for package, version, rest in entries}


def merged(first: Lock, second: Lock) -> Lock:
    """Return the pins of both, with the hashes of both."""
    both = first | second
    return {
        name: Pin(pin.version, frozenset().union(*(lock[name].hashes for lock in (first, second) if name in lock)))
        for name, pin in both.items()
    }


def text(lock: Lock) -> str:
    """Return a lock as requirements."""
    return "".join(
        line(package, pin) + "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(pin.hashes)) + "\n"
        for package, pin in sorted(lock.items())
    )


def line(package: str, pin: Pin) -> str:
    """Return a pin as a requirement without its hashes."""
    return f"{package}=={pin.version}"
