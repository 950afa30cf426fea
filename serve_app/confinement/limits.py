"""What a process may do that works on a text of somebody else's: limited time, and nothing but Python's modules."""

import os
import resource
import select
import sys
import threading
from contextlib import suppress
from pathlib import Path

MODULES = (".py", ".pyc", ".so", "METADATA", "PKG-INFO")
"""Endings of the files that may be opened: Python imports some modules, and looks up versions, only when needed."""
PROGRAMS = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork")
FILES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.trunc")
NETWORK = ("socket.bind", "socket.connect", "socket.get", "socket.sendto", "socket.sendmsg")
"""An event loop has a pair of sockets of its own, which goes nowhere; so sockets as such are not refused."""


def limit(cpu_s: int, memory_bytes: int | None = None) -> None:
    """Let this process have so much processor time and memory, after all others that want the processor.

    If the machine, or the container, has no memory left, the kernel ends this process before any other.
    """
    with suppress(OSError):  # elsewhere than on Linux
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    os.nice(5)


def end_with_reader() -> None:
    """End this process once its standard output has no reader any more, such as after the server was killed."""
    threading.Thread(target=_end_with_reader, daemon=True).start()


def _end_with_reader() -> None:
    output = select.poll()
    output.register(1, 0)  # for nothing but errors: the other end of a pipe is closed
    output.poll()
    os._exit(1)


def confine() -> None:
    """Refuse, from now on and for good, to open files, start programs and connect to anything."""
    sys.addaudithook(refuse)


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Raise PermissionError for what a text has no business with."""
    opens = event == "open" and not str(arguments[0]).endswith(MODULES)
    if opens or event.startswith(PROGRAMS + FILES + NETWORK):
        raise PermissionError(f"this may not be done here: {event}")
