"""`[NAME=]PATH`, as arguments of `cascade import` name files."""

from pathlib import Path


def named_path(argument: str) -> tuple[str | None, Path]:
    """Return name and path, None without a name. A path that exists is one, whatever is in it."""
    name, separator, path = argument.partition("=")
    if separator and not Path(argument).exists():
        return name, Path(path)
    return None, Path(argument)
