"""Records that operators drop on the page, evaluated one file at a time in a process of its own."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from serve_app.api.encoding import event
from serve_app.deployments.showing.child import command_of, started, why_ended

COMMAND = command_of("serve_app.evaluation.evaluate.upload.process")
TIME_LIMIT_S = 300.0
"""For everything, with the upload; the process has a limit of processor time, too."""
CHUNK = 64 * 1024


class Evaluation:
    """One file's evaluation by a process, which is to be closed however it ends."""

    def __init__(self, process: Process, time_limit_s: float, on_close: Callable[[], None]) -> None:
        self._process = process
        self._time_limit_s = time_limit_s
        self._ends = asyncio.get_running_loop().time() + time_limit_s
        self._on_close = on_close

    async def feed(self, records: AsyncIterator[bytes]) -> None:
        """Write the records to the process as fast as it reads them; it may end before the last."""
        assert self._process.stdin is not None
        with suppress(TimeoutError):  # which `events` tells
            async with asyncio.timeout_at(self._ends):
                async for part in records:
                    with suppress(ConnectionError):
                        self._process.stdin.write(part)
                        await self._process.stdin.drain()
        self._process.stdin.close()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield what the process says, as `upload.process` has it, and [DONE]."""
        assert self._process.stdout is not None
        try:
            while part := await self._in_time(self._process.stdout.read(CHUNK)):
                yield part
            await self._process.wait()
            if self._process.returncode != 0:
                yield _problem(why_ended(self._process))
        except TimeoutError:
            yield _problem(f"it takes longer than {self._time_limit_s:g} s")
        yield b"data: [DONE]\n\n"

    async def _in_time(self, reading: Coroutine[Any, Any, bytes]) -> bytes:
        async with asyncio.timeout_at(self._ends):
            return await reading

    async def close(self) -> None:
        """End the process if it still runs."""
        self._on_close()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class RecordsEvaluator:
    """Starts a process for each file, and ends it if it takes too long."""

    def __init__(self, command: Sequence[str] = COMMAND, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._command = command
        self._time_limit_s = time_limit_s
        self.busy = False

    async def begin(self, records: AsyncIterator[bytes]) -> Evaluation:
        """Return the evaluation of records that have been sent to its process; whoever gets it closes it."""
        self.busy = True
        try:
            evaluation = Evaluation(await started(self._command), self._time_limit_s, self._free)
        except BaseException:
            self._free()
            raise
        try:
            await evaluation.feed(records)
        except BaseException:
            await evaluation.close()
            raise
        return evaluation

    def _free(self) -> None:
        self.busy = False


def _problem(reason: str) -> bytes:
    sentence = f"These records could not be evaluated: {reason}. Run `cascade evaluate` with the file instead."
    return event({"problem": sentence})
