"""Appends to a records file, by one process at a time, so that a kill at any moment loses only what was on its way."""

import fcntl
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from serve_app.config import DeployedFacts
from serve_app.core.types import Answer, Failure
from serve_app.errors import DataError
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.file import (
    Header,
    answer_body,
    encode_line,
    example_body,
    parse_line,
    read_answer,
    read_example,
    read_place,
)

FIRST_BYTES = b'{"kind": "header", "format": '
SYNC_S = 5.0
"""How much a power cut may cost, in seconds of answers; a killed process costs none that were written."""


class Recorder:
    """A records file, open for more answers.

    with Recorder(path, header, examples) as recorder:
        recorder.add("1", "small", answer)

    A file that is there already is continued: a last line that was cut off is removed, and what there is counts as
    asked. It may have grown out of less: new examples and models are added (with the new header). `DataError` where
    anything else differs, naming it, or where another process is writing.
    """

    def __init__(self, path: Path, header: Header, examples: Sequence[Example]) -> None:
        self.path = path
        self._done: dict[str, set[str]] = defaultdict(set)  # model -> ids of examples
        self._failed: dict[str, set[str]] = defaultdict(set)
        self._synced_s = time.monotonic()
        if path.name.endswith(".gz"):
            raise DataError(f"{str(path)!r}: compressed records cannot be added to; unpack the file first.")
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise DataError(f"The records {str(path)!r} cannot be written: {error.strerror}.") from None
        try:
            self._lock()
            self._continue(header, examples)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sync()
        self._file.close()

    def answered(self, model: str, *, failures: bool = True) -> set[str]:
        """Ids of the examples that the model was asked; without `failures`, of those that it answered."""
        return self._done[model] - (set() if failures else self._failed[model])

    def failures(self, model: str) -> int:
        """How many of its examples the model has failed at."""
        return len(self._failed[model])

    def add(self, example: str, model: str, answer: Answer) -> None:
        """Write an answer. It survives this process from now on, and the machine's power a few seconds later."""
        self._write([answer_body(example, model, answer)])
        self._note(example, model, isinstance(answer, Failure))
        if time.monotonic() - self._synced_s > SYNC_S:
            self._sync()

    def _note(self, example: str, model: str, failed: bool) -> None:
        self._done[model].add(example)
        if failed:
            self._failed[model].add(example)
        else:
            self._failed[model].discard(example)

    def _write(self, bodies: Iterable[Mapping[str, Any]]) -> None:
        try:
            self._file.write(b"".join(map(encode_line, bodies)))
            self._file.flush()
        except OSError as error:
            raise DataError(f"The records {str(self.path)!r} cannot be written: {error.strerror}.") from error

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced_s = time.monotonic()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"Another cascade collect is writing {str(self.path)!r}; one at a time.") from None

    def _continue(self, header: Header, examples: Sequence[Example]) -> None:
        there, known = self._scan()
        if there is not None and (differences := list(differing(there, header, known, examples))):
            raise DataError(
                f"{str(self.path)!r} holds records that do not fit: {'; '.join(differences)}. "
                "Name another file with -o, or ask as before."
            )
        lines = [] if there is not None and replace(there, created=header.created) == header else [header.body()]
        lines += [example_body(example) for example in examples if example.id not in known]
        self._write(lines)
        self._sync()

    def _scan(self) -> tuple[Header | None, dict[str, Example]]:
        """What the file holds, up to its last whole line; the rest is cut off."""
        header, known, end = None, {}, 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    self._check_tail(header, line)
                    break
                end += len(line)
                body = parse_line(self.path, number, line)
                try:
                    if body["kind"] == "header":
                        header = Header.read(body)
                    elif body["kind"] == "example":
                        known[body["id"]] = read_example(body)
                    else:
                        self._note(*read_place(body), isinstance(read_answer(body), Failure))
                except (KeyError, ValueError) as error:
                    raise DataError(f"{self.path}:{number}: not a line of records: {error}.") from None
        self._file.truncate(end)
        return header, known

    def _check_tail(self, header: Header | None, line: bytes) -> None:
        """Only what was ours is cut off: somebody's text of one line stays what it is."""
        if header is None and not line.startswith(FIRST_BYTES[: len(line)]):
            raise DataError(f"{str(self.path)!r} is something else than records; name another file with -o.")


def differing(old: Header, new: Header, known: Mapping[str, Example], examples: Iterable[Example]) -> Iterator[str]:
    """What keeps records under `old` from being continued under `new`; more models or examples do not."""
    given = {example.id: example for example in examples}
    if missing := known.keys() - given.keys():
        yield f"{len(missing)} of their {len(known)} examples are not in the data, such as {min(missing)!r}"
    if changed := [id_ for id_ in known.keys() & given.keys() if known[id_] != given[id_]]:
        yield f"the example {min(changed)!r} reads otherwise in the data"
    for task, text in old.prompts["texts"].items():
        if new.prompts["texts"].get(task, text) != text:
            yield f"the prompt for {task} is another"
    for task, tokens in old.sampling["max_tokens"].items():
        if (wanted := new.sampling["max_tokens"].get(task, tokens)) != tokens:
            yield f"max_tokens for {task} was {tokens}, now {wanted}"
    if old.asked["through"] != new.asked["through"]:
        yield f"models were asked through {old.asked['through']}, now through {new.asked['through']}"
    for name in old.models:
        yield from _model(name, old, new)


def _model(name: str, old: Header, new: Header) -> Iterator[str]:
    if name not in new.models:
        yield f"their model {name!r} is in no cascade of the config"
        return
    was, now = (header.config["args"]["models"] for header in (old, new))
    yield from _options(name, was, now)
    base = was[name].get("base")  # an adapter's answers come from its base's engine
    if base is not None and base == now[name].get("base") and base not in old.models:
        yield from _options(base, was, now)
    digests = [header.models[name]["weights_sha256"] for header in (old, new)]
    if digests[0] != digests[1]:
        yield f"the weights of {name!r} had the SHA-256 {digests[0]}, now {digests[1]}"


def _options(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = was[name], now[name]
    same_file = {"weights"} if old.get("sha256") and old["sha256"] == new.get("sha256") else set()
    for option in sorted((old.keys() | new.keys()) - DeployedFacts.model_fields.keys() - same_file):
        if old.get(option) != new.get(option):
            yield f"models.{name}.{option} was {_shown(old, option)}, now {_shown(new, option)}"


def _shown(options: Mapping[str, Any], option: str) -> str:
    if option not in options:
        return "not given"
    text = repr(options[option])
    return text if len(text) <= 60 else f"{text[:60]}..."
