"""JSON schemas as grammars that bind llama.cpp's answers: those of llguidance, which xllamacpp's build contains.

llama.cpp's own converter leaves out what it does not know (patterns without anchors, bounds of numbers, formats,
`not`), and a schema of 300 bytes can keep it busy for minutes or abort its process. llguidance enforces those, has
limits of its own, and reports what it cannot enforce. llama.cpp ignores such a report and decodes without a grammar, so
each grammar is compiled in a process of its own first: what cannot be compiled there within `TIME_LIMIT_S` never
reaches the model.
"""

import asyncio
import json
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from serve_app.common.bounded_store import BoundedStore, StoreLimits
from serve_app.core.tools import JsonSchema
from serve_app.engines.llama_cpp.template import Thoughts
from serve_app.engines.running.thinking import Markers
from serve_app.errors import EngineError, UnsupportedRequestError

TIME_LIMIT_S = 1.0
"""Time limit for compiling; llama.cpp compiles the grammar once more, beside requests that are being decoded."""
START_LIMIT_S = 30.0
"""Time limit for the start of the process, which takes a tenth of a second on an idle machine."""
VERDICTS = StoreLimits(entries=1024, bytes=2**20, ttl_s=60.0)
"""Clients send the same schema with each request."""
OVERRUNS = StoreLimits(entries=1024, bytes=2**20, ttl_s=5.0)
"""Grammars that took too much time or memory: equal ones do not wait for each other, and a busy moment is over soon."""
MAX_CHARACTERS = 65_536
"""Longest grammar. Compiling time grows with it: 1,500 properties or 3,000 alternatives take a tenth of a second."""
OPTIONS = {
    # Small models fill optional whitespace until the answer is full.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    # `oneOf` binds as `anyOf`; finished answers are validated against the schema itself.
    "coerce_one_of": True,
}
GAP = "/\\n{0,2}/"
"""Between thoughts and the answer, as models write it."""
_LINE_BYTES = 2**20
"""Longest answer of the process, which may quote the grammar; JSON's escapes make six bytes of a character."""
_PROCESS = Path(__file__).with_name("grammar_process.py")
_SILENT = {"type", "title", "description", "default", "examples", "deprecated", "$schema", "$id", "$comment", "$defs"}
_SILENT |= {"definitions", "additionalProperties", "required", "maxProperties", "properties"}
"""Keywords beside which an object's `properties` can be closed: none brings properties of its own."""


def grammar(schema: JsonSchema, thoughts: Thoughts = "no", markers: Markers | None = None) -> str:
    """Return the grammar of a schema, in llguidance's notation, after the `thoughts` that the answer has.

    Objects that list their properties and say nothing of others get no others: every answer is valid all the same,
    and small models do not add properties until the answer is full.
    """
    answer = "%json " + json.dumps(_closed(schema) | {"x-guidance": OPTIONS}, ensure_ascii=False)
    if thoughts == "no" or markers is None:
        return f"%llguidance {{}}\nstart: {answer}"
    opened = f"thought {GAP}" if thoughts == "begun" else f"({_literal(markers.open)} thought {GAP})?"
    thought = f"thought[suffix={_literal(markers.close)}]: /(?s:.*)/"
    return f"%llguidance {{}}\nstart: {opened} answer\nanswer: {answer}\n{thought}"


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _closed(schema: Any, *, composed: bool = False, definitions: bool | None = None) -> Any:
    """Return the schema with `additionalProperties: false` in each object in which that rules out no valid answer.

    `composed`: another part of the schema speaks about the same object. `definitions`: whether those are composed.
    """
    if isinstance(schema, list):
        return [_closed(item, composed=composed, definitions=definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if definitions is None:
        definitions = _composes_references(schema)
    speaking = schema.keys() - (_SILENT - {"properties"})
    closed: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties", "$defs", "definitions") and isinstance(value, dict):
            within = definitions if key in ("$defs", "definitions") else False
            closed[key] = {
                name: _closed(part, composed=within, definitions=definitions) for name, part in value.items()
            }
        elif key in ("items", "prefixItems", "additionalProperties"):
            closed[key] = _closed(value, definitions=definitions)
        elif key in ("anyOf", "oneOf", "allOf"):
            within = composed or len(speaking) > 1 or key == "allOf"
            closed[key] = _closed(value, composed=within, definitions=definitions)
        else:
            closed[key] = value
    if not composed and speaking == {"properties"} and schema["properties"].keys() >= set(schema.get("required", ())):
        closed.setdefault("additionalProperties", False)
    return closed


def _composes_references(schema: Any) -> bool:
    """Return whether other parts of the schema constrain the same value as a `$ref`."""
    if isinstance(schema, list):
        return any(map(_composes_references, schema))
    if not isinstance(schema, dict):
        return False
    # A property may have a keyword's name, and then any value.
    parts = schema.get("allOf")
    composed = isinstance(parts, list) and any(isinstance(part, dict) and "$ref" in part for part in parts)
    beside = "$ref" in schema and len(schema.keys() - (_SILENT - {"properties"})) > 1
    return composed or beside or any(map(_composes_references, schema.values()))


class _OverrunError(Exception):
    """A grammar took more time or memory than is allowed, and with it the process."""


class GrammarChecker:
    """Compiles grammars in a process that is ended if it takes too long. Starts it at the first grammar.

    `command` starts the process.
    """

    def __init__(
        self, time_limit_s: float = TIME_LIMIT_S, command: Sequence[str] = (sys.executable, "-P", str(_PROCESS))
    ) -> None:
        self._time_limit_s = time_limit_s
        self._command = command
        self._process: Process | None = None
        self._lock = asyncio.Lock()
        self._closed = False
        self._verdicts: BoundedStore[bytes, str] = BoundedStore(VERDICTS)
        self._overruns: BoundedStore[bytes, str] = BoundedStore(OVERRUNS)

    async def check(self, text: str, field: str) -> None:
        """Raise UnsupportedRequestError if llama.cpp could not enforce the grammar, with llguidance's reason.

        `field` is the request's field that the grammar was made of. Raises EngineError if the process cannot start.
        """
        if len(text) > MAX_CHARACTERS:
            raise _unsupported(field, f"has {len(text)} characters as JSON, more than {MAX_CHARACTERS}")
        key = sha256(text.encode("utf-8", "surrogatepass")).digest()
        async with self._lock:
            # Looked up with the lock held: an equal grammar that came before is compiled by now.
            reason = self._verdicts.get(key)
            reason = self._overruns.get(key) if reason is None else reason
            if reason is None:
                try:
                    reason = await self._compile(text)
                except _OverrunError as error:
                    self._kill()
                    reason = str(error)
                    self._overruns.put(key, reason, len(reason))
                except BaseException:
                    # Cancelled or not, the process may be in the midst of a grammar.
                    self._kill()
                    raise
                else:
                    self._verdicts.put(key, reason, len(reason))
        if reason:
            raise _unsupported(field, f"cannot be enforced: {reason}")

    async def close(self) -> None:
        """End the process, and start none any more."""
        self._closed = True
        async with self._lock:
            if (process := self._process) is not None:
                self._kill()
                await process.wait()

    async def _compile(self, text: str) -> str:
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await self._started()
        try:
            async with asyncio.timeout(self._time_limit_s):
                return await _answer(process, text)
        except TimeoutError:
            raise _OverrunError(f"compiling it takes longer than {self._time_limit_s:g} s") from None
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise _OverrunError("compiling it takes more memory than is allowed") from None

    async def _started(self) -> Process:
        """Return a process that has compiled a first grammar: its start is not part of the time for one."""
        if self._closed:
            raise EngineError("The model is being closed.")
        try:
            async with asyncio.timeout(START_LIMIT_S):
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=DEVNULL,  # what llguidance complains about there may quote a client's schema
                    limit=_LINE_BYTES,
                )
                await _answer(self._process, "start: /a/")
        except TimeoutError:
            problem = f"it is not ready after {START_LIMIT_S:g} s"
        except (EOFError, BrokenPipeError, ConnectionResetError):
            problem = "it ended at once"
        except OSError as error:
            problem = error.strerror or str(error)
        else:
            return self._process
        raise EngineError(f"The process that checks grammars could not be started: {problem}.")

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        self._process = None


async def _answer(process: Process, text: str) -> str:
    """Return the process's answer about one grammar. Raises EOFError if the process ended instead."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(text).encode() + b"\n")
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line:
        raise EOFError
    return _reason(json.loads(line))


def _reason(message: str) -> str:
    """Return llguidance's message without the grammar that it quotes."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    text = (errors or lines or [""])[0].removeprefix("error: ")
    return re.sub(r"^at \d+\(\d+\): ", "", text).removeprefix("failed to compile JSON schema: ")[:300]


def _unsupported(field: str, problem: str) -> UnsupportedRequestError:
    return UnsupportedRequestError(f"{field}: the JSON schema {problem}.", field)
