"""What looks like a secret, by its name or by itself: refused in configs, and never repeated."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET = {
    "apikey",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
}
_SECRET |= {"secret"}
_LAST = {"auth", "key", "pass", "pwd", "token"}
"""Words that make a name secret at its end only: `max_tokens`, `keyfile` and `token_ids` are none."""
_REFERENCE = {"env", "file", "id", "name", "path", "url"}
"""Last words of what tells where a secret is, and not the secret: `api_key_env`."""
_HARMLESS = {"bos token", "cache key", "eos token", "pad token", "stop token"}
_ISSUED = re.compile(
    r"\b(?:hf_|sk-|gh[pousr]_|glpat-|xox[bp]-)[\w-]{8,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]+"
    r"|(?i:(?<=\bbearer )|(?<=\bbasic ))[\w+/=.-]{8,}"
    r"|(?<=://)[^\s@/]+(?=@)"
)
"""Tokens by their issuers' prefixes, what follows `Bearer`, and credentials in a URL."""
ValuePath: TypeAlias = tuple[str | int, ...]
"""Keys and indices that lead to a value."""


def names_secret(name: str) -> bool:
    """Return whether a field, header or environment variable of this name holds a secret."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _REFERENCE:
        return False
    return not _SECRET.isdisjoint(words) or (words[-1] in _LAST and " ".join(words[-2:]) not in _HARMLESS)


def holds_secret(text: str) -> bool:
    """Return whether a text has a token or credentials in it."""
    return _ISSUED.search(text) is not None


def without_secrets(text: str) -> str:
    """Return the text with what looks like a secret replaced."""
    return _ISSUED.sub("(hidden)", text)


def secret_paths(value: Any, where: ValuePath = ()) -> Iterator[ValuePath]:
    """Yield the path of each text inside a value that looks like a secret, or whose name does."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from secret_paths(inner, (*where, str(key)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from secret_paths(inner, (*where, number))
    elif isinstance(value, str) and value:
        name = next((step for step in reversed(where) if isinstance(step, str)), "")
        if names_secret(name) or holds_secret(value):
            yield where
