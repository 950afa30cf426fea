"""Configs that operators paste into the page, checked one at a time in a process of its own."""

import asyncio
import json
from collections.abc import Sequence

from serve_app.confinement.child import command_of, started, why_ended
from serve_app.core.record_json import JsonObject

COMMAND = command_of("serve_app.config.checking.process")
TIME_LIMIT_S = 60.0
"""The process has a limit of processor time, too; importing Ray's rules takes most of it on a busy machine."""


class ConfigChecker:
    """Starts a process for each check, and ends it if it takes too long."""

    def __init__(self, command: Sequence[str] = COMMAND, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._command = command
        self._time_limit_s = time_limit_s
        self.busy = False

    async def check(self, text: str) -> JsonObject:
        """Return the report of `serve_app.config.checking.process` about the text."""
        self.busy = True
        try:
            return await self._checked(text)
        finally:
            self.busy = False

    async def _checked(self, text: str) -> JsonObject:
        process = await started(self._command)
        try:
            async with asyncio.timeout(self._time_limit_s):
                output, _ = await process.communicate(text.encode())
        except TimeoutError:
            return _unchecked(f"it takes longer than {self._time_limit_s:g} s")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == 0:
            result: JsonObject = json.loads(output)
            return result
        return _unchecked(why_ended(process))


def _unchecked(reason: str) -> JsonObject:
    sentence = f"This config could not be checked: {reason}. Run `cascade check` with the file instead."
    return {"valid": False, "lines": [sentence], "warnings": []}
