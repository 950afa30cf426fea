"""Processes of their own for what operators bring along: without the server's environment, in which keys may be."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence

INHERITED = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")
"""What a process has of the server's environment."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Models share the machine."""


def command_of(module: str) -> tuple[str, ...]:
    """Return the command that runs one of our modules, whatever lies in the working directory."""
    return (sys.executable, "-P", "-m", module)


async def started(command: Sequence[str]) -> Process:
    """Start a process that reads its input and writes its output to this one."""
    environment = ONE_THREAD | {name: os.environ[name] for name in INHERITED if name in os.environ}
    # Ray may have added to the path of this process.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment)


def why_ended(process: Process) -> str:
    """Return why a process gave no result, after "it could not be done:"."""
    killed = process.returncode is not None and process.returncode < 0
    return "it takes more time or memory than is allowed" if killed else "it failed"
