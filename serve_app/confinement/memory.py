"""How much memory a process may take beside the others of its machine and its container."""

import re
from collections.abc import Iterator
from pathlib import Path

SHARE = 2
"""Half of what is free: the other half is for requests that arrive meanwhile."""


def fair_share(most: int, root: Path = Path("/")) -> int:
    """Return the smaller of `most` and half of the bytes that are free, in the machine and in each cgroup v2 around."""
    return min([most, *(free // SHARE for free in [*_free_in_machine(root), *_free_in_cgroups(root)])])


def _free_in_machine(root: Path) -> Iterator[int]:
    if available := re.search(r"^MemAvailable: +(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE):
        yield int(available[1]) * 1024


def _free_in_cgroups(root: Path) -> Iterator[int]:
    """Yield what each limit leaves; pages of files that are not in use count as free, as for the kubelet."""
    if not (match := re.search(r"^0::/(.*)$", _text(root / "proc/self/cgroup"), re.MULTILINE)):
        return
    parts = match[1].split("/")
    for depth in range(len(parts) + 1):
        folder = (root / "sys/fs/cgroup").joinpath(*parts[:depth])
        limit, usage = _text(folder / "memory.max").strip(), _text(folder / "memory.current").strip()
        if limit.isdigit() and usage.isdigit():
            idle = re.search(r"^inactive_file (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
            yield max(0, int(limit) - int(usage) + (int(idle[1]) if idle else 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
