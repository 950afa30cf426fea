"""Files that a command is told to write, and must not write over others."""

from pathlib import Path

from serve_app.errors import DataError


def check_output(path: Path, *, force: bool, inputs: tuple[Path | None, ...] = ()) -> None:
    """Raise DataError if the file exists and must not be replaced: without `force`, and never one of the `inputs`.

    An empty file has nothing to lose (a shell makes one of /dev/stdout), nor has a pipe, or what else is not regular.
    """
    if not path.is_file() or not path.stat().st_size:
        return
    if any(read is not None and read.exists() and read.samefile(path) for read in inputs):
        raise DataError(f"{str(path)!r} is read by this command; choose another path with -o.")
    if not force:
        raise DataError(f"{str(path)!r} exists; choose another path with -o, or replace it with --force.")
