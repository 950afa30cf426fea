"""Records that operators drop on the page, evaluated one file at a time in a process of its own."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from serve_app.api.encoding import event
from serve_app.confinement.child import command_of, started, why_ended

COMMAND = command_of("serve_app.evaluation.evaluate.upload.process")
TIME_LIMIT_S = 300.0
"""Time limit of everything, upload included; the process has a limit of processor time, too."""
CHUNK = 64 * 1024


class Evaluation:
    """One file's evaluation by a process, which is to be closed however it ends.

    The process ends in time even if `events` are not read to the end.
    """

    def __init__(self, process: Process, time_limit_s: float) -> None:
        self._process = process
        self._time_limit_s = time_limit_s
        loop = asyncio.get_running_loop()
        self._ends = loop.time() + time_limit_s
        self._late = False
        self._watchdog = loop.call_at(self._ends, self._end_late)

    @property
    def running(self) -> bool:
        """Return whether the process runs."""
        return self._process.returncode is None

    def _end_late(self) -> None:
        if self.running:
            self._late = True
            self._process.kill()

    async def feed(self, records: AsyncIterator[bytes]) -> None:
        """Write the records to the process as fast as it reads them; it may end before the last."""
        assert self._process.stdin is not None
        with suppress(TimeoutError):  # `events` reports it
            async with asyncio.timeout_at(self._ends):
                async for part in records:
                    with suppress(ConnectionError):
                        self._process.stdin.write(part)
                        await self._process.stdin.drain()
        self._process.stdin.close()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the process's events, as `upload.process` writes them, and [DONE]."""
        assert self._process.stdout is not None
        end = b"\n\n"  # the last two bytes, which may come in parts of one each
        while part := await self._process.stdout.read(CHUNK):
            end = (end + part)[-2:]
            yield part
        await self._process.wait()
        if end != b"\n\n":
            yield b"\n\n"  # ends an event of which only a part was written
        if self._late:
            yield _problem(f"it takes longer than {self._time_limit_s:g} s")
        elif self._process.returncode != 0:
            yield _problem(why_ended(self._process))
        yield b"data: [DONE]\n\n"

    async def close(self) -> None:
        """End the process if it still runs."""
        self._watchdog.cancel()
        if self.running:
            self._process.kill()
            await self._process.wait()


class RecordsEvaluator:
    """Starts a process for each file, and ends it if it takes too long."""

    def __init__(self, command: Sequence[str] = COMMAND, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._command = command
        self._time_limit_s = time_limit_s
        self._starting = False
        self._evaluation: Evaluation | None = None

    @property
    def busy(self) -> bool:
        """Return whether a process runs that has not ended after its last event."""
        return self._starting or (self._evaluation is not None and self._evaluation.running)

    async def begin(self, records: AsyncIterator[bytes]) -> Evaluation:
        """Return the evaluation of records that have been sent to its process; the caller must close it."""
        self._starting = True
        try:
            evaluation = self._evaluation = Evaluation(await started(self._command), self._time_limit_s)
        finally:
            self._starting = False
        try:
            await evaluation.feed(records)
        except BaseException:
            await evaluation.close()
            raise
        return evaluation


def _problem(reason: str) -> bytes:
    sentence = f"These records could not be evaluated: {reason}. Run `cascade evaluate` with the file instead."
    return event({"problem": sentence})
