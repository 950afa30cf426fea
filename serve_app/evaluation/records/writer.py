"""Appends to a records file, one process at a time; a kill at any moment loses only the answers in flight."""

import fcntl
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from serve_app.config import DeployedFacts
from serve_app.core.sampling import Sample, base_name
from serve_app.core.types.answer import Answer, Failure
from serve_app.errors import DataError, counted
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.header import Header, Object
from serve_app.evaluation.records.lines import answer_body, encode_line, example_body, read_example, read_line
from serve_app.files.json_lines import read_appended

FIRST_BYTES = b'{"kind": "header", "format": '
SYNC_S = 5.0
"""Seconds of answers that a power cut may cost; a killed process loses none that were written."""


class Recorder:
    """A records file, open for more answers.

    with Recorder(path, header, examples) as recorder:
        recorder.add("1", "small", answer)

    An existing file is resumed: an incomplete last line is removed, and its answers count as asked. New examples and
    models may be added, with the new header. Raises `DataError` if anything else differs, which it names, if the file
    cannot be written, or if another process is writing it.
    """

    def __init__(self, path: Path, header: Header, examples: Sequence[Example]) -> None:
        self.path = path
        self._asked_ids: dict[str, set[str]] = defaultdict(set)  # model -> ids of examples
        self._failed_ids: dict[str, set[str]] = defaultdict(set)
        self._synced_s = time.monotonic()
        if path.name.endswith(".gz"):
            raise DataError(f"{str(path)!r}: compressed records cannot be appended to; unpack the file first.")
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise DataError(f"The records {str(path)!r} cannot be written: {error.strerror}.") from None
        try:
            self._lock()
            self._continue(header, examples)
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._sync()
        finally:
            self._close()

    def _close(self) -> None:
        with suppress(OSError):  # what could not be written cannot be flushed either
            self._file.close()

    def answered(self, model: str, *, failures: bool = True) -> set[str]:
        """Return the ids of the examples that the model was asked; without `failures`, of those that it answered."""
        return self._asked_ids[model] - (set() if failures else self._failed_ids[model])

    def failures(self, model: str) -> int:
        """Return the number of examples that the model has failed at."""
        return len(self._failed_ids[model])

    def add(self, example: str, model: str, answer: Answer) -> None:
        """Write an answer: once this returns it survives a kill of the process, within seconds a power cut, too."""
        self._write([answer_body(example, model, answer)])
        self._note(example, model, isinstance(answer, Failure))
        if time.monotonic() - self._synced_s > SYNC_S:
            self._sync()

    def _note(self, example: str, model: str, failed: bool) -> None:
        self._asked_ids[model].add(example)
        if failed:
            self._failed_ids[model].add(example)
        else:
            self._failed_ids[model].discard(example)

    def _write(self, bodies: Iterable[Object]) -> None:
        with self._errors():
            self._file.write(b"".join(map(encode_line, bodies)))
            self._file.flush()

    def _sync(self) -> None:
        with self._errors():
            os.fsync(self._file.fileno())
        self._synced_s = time.monotonic()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"The records {str(self.path)!r} cannot be written: {error.strerror}.") from error

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"Another cascade collect is writing {str(self.path)!r}; wait until it ends.") from None

    def _continue(self, header: Header, examples: Sequence[Example]) -> None:
        recorded, old_examples = self._scan()
        if recorded is not None and (differences := list(differing(recorded, header, old_examples, examples))):
            raise DataError(
                f"{str(self.path)!r} holds records that do not fit: {'; '.join(differences)}. "
                "Choose another path with -o, or collect as before."
            )
        unchanged = recorded is not None and replace(recorded, created=header.created) == header
        lines = [] if unchanged else [header.body()]
        lines += [example_body(example) for example in examples if example.id not in old_examples]
        self._write(lines)
        self._sync()

    def _scan(self) -> tuple[Header | None, dict[str, Example]]:
        """Return the file's header and its examples by id, note its answers, and cut off an incomplete last line."""
        header, examples, end = None, {}, 0
        with read_appended(self.path) as lines:
            for line, body in lines:
                if header is None and body.get("kind") != "header":
                    raise self._foreign()
                end = line.end
                try:
                    if body["kind"] == "header":
                        header = Header.read(body)
                    elif body["kind"] == "example":
                        example = read_example(body)
                        examples[example.id] = example
                    else:
                        answer = read_line(body)
                        self._note(answer.example, answer.model, isinstance(answer.answer, Failure))
                except (KeyError, ValueError) as error:
                    raise DataError(f"{line.where}: not a line of records: {error}.") from None
        self._cut(header, end)
        return header, examples

    def _foreign(self) -> DataError:
        return DataError(f"{str(self.path)!r} exists but is not a records file; choose another path with -o.")

    def _cut(self, header: Header | None, end: int) -> None:
        """Cut off what comes after `end`. Raises DataError if it is not the start of records but of another file."""
        with self.path.open("rb") as file:
            file.seek(end)
            tail = file.read()
        if header is None and not tail.startswith(FIRST_BYTES[: len(tail)]):
            raise self._foreign()
        self._file.truncate(end)


def differing(old: Header, new: Header, recorded: Mapping[str, Example], data: Iterable[Example]) -> Iterator[str]:
    """Yield what keeps records under `old` from being resumed under `new`; more models or examples do not."""
    examples = {example.id: example for example in data}
    if missing := recorded.keys() - examples.keys():
        yield f"the data lacks {len(missing)} of their {counted(len(recorded), 'example')}, such as {min(missing)!r}"
    if changes := [id_ for id_ in recorded.keys() & examples.keys() if recorded[id_] != examples[id_]]:
        yield f"the example {min(changes)!r} is different in the data"
    for task, text in old.prompts.texts.items():
        if new.prompts.texts.get(task, text) != text:
            yield f"the prompt for {task} is different"
    for task, tokens in old.sampling.max_tokens.items():
        if (limit := new.sampling.max_tokens.get(task, tokens)) != tokens:
            yield f"max_tokens for {task} was {tokens}, now {limit}"
    if old.asked.through != new.asked.through:
        yield f"models were asked through {old.asked.through}, now through {new.asked.through}"
    for name in old.models:
        yield from _model(name, old, new)


def _model(name: str, old: Header, new: Header) -> Iterator[str]:
    if name not in new.models:
        yield f"their model {name!r} is in no cascade of the config"
        return
    before, after = old.config.models, new.config.models
    model = base_name(name)
    if model != name:
        yield from _draws(name, old.samples().get(name), new.samples().get(name))
    yield from _options(model, before[model], after[model])
    base = before[model].get("base")  # an adapter's answers come from its base's engine
    if base is not None and base == after[model].get("base") and base not in old.models:
        yield from _options(base, before[base], after[base])
    if (was := old.models[name].weights_sha256) != (now := new.models[name].weights_sha256):
        yield f"the weights of {name!r} had the SHA-256 {was}, now {now}"


def _draws(name: str, old: Sample | None, new: Sample | None) -> Iterator[str]:
    for option in ("temperature", "top_p", "seed"):
        if (was := getattr(old, option, None)) != (now := getattr(new, option, None)):
            yield f"{option} of {name!r} was {was}, now {now}"


def _options(model: str, old: Object, new: Object) -> Iterator[str]:
    same_file = {"weights"} if old.get("sha256") and old["sha256"] == new.get("sha256") else set()
    for option in sorted((old.keys() | new.keys()) - DeployedFacts.model_fields.keys() - same_file):
        if old.get(option) != new.get(option):
            yield f"models.{model}.{option} was {_shown(old, option)}, now {_shown(new, option)}"


def _shown(options: Object, option: str) -> str:
    if option not in options:
        return "not set"
    text = repr(options[option])
    return text if len(text) <= 60 else f"{text[:60]}..."
