"""Which requests speak Anthropic's API."""

from starlette.datastructures import Headers
from starlette.types import Scope


def speaks_anthropic(scope: Scope) -> bool:
    """Return whether a request expects Anthropic's format: by its path, or, for the models, by the client's header."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if _under(path, "/v1/models"):
        return "anthropic-version" in Headers(scope=scope)
    return _under(path, "/v1/messages")


def _under(path: str, parent: str) -> bool:
    return path == parent or path.startswith(f"{parent}/")
