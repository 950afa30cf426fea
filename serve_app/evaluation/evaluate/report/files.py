"""Files that a user named, which may not be writable."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve_app.errors import DataError


@contextmanager
def written(label: str, path: Path) -> Iterator[None]:
    """Raise a DataError with `label` and the path if the path cannot be written within the block."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{label} {str(path)!r} cannot be written: {error.strerror}.") from None
