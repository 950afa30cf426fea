"""The file of API keys: what each may ask, and how much. It holds hashes only, so reading it reveals no key."""

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Self, TypeAlias

import yaml
from pydantic import AfterValidator, Field, PositiveInt, ValidationError, model_validator

from serve_app.config.explain import explain
from serve_app.config.strict import Strict
from serve_app.config.yaml_file import read_yaml
from serve_app.errors import ConfigError, choices

PREFIX = "sk-cascade-"
"""Prefix by which keys are recognised as secrets: `common.secrecy` hides what begins with `sk-`."""
KEY_BYTES = 32
"""Random bytes of a key: too many to be guessed, so a plain hash hides it."""


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", name):
        raise ValueError(
            "a name has up to 64 letters, digits, '.', '_', '@' and '-', and begins with a letter or a digit"
        )
    return name


KeyName: TypeAlias = Annotated[str, AfterValidator(_check_name)]


class ApiKey(Strict):
    """One key: its hash, and what it may do."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the key, in hexadecimal digits.")
    created: str = Field("", description="When it was created, for people to read.")
    models: list[str] | None = Field(
        None, description="Cascades, models and encoders that it may ask; null: all. A cascade's own models come along."
    )
    requests_per_minute: PositiveInt | None = Field(None, description="Requests in a minute; null: no limit.")
    tokens_per_minute: PositiveInt | None = Field(
        None, description="Tokens in a minute, as `usage` counts them; null: no limit."
    )
    usd_per_day: float | None = Field(
        None, ge=1e-6, description="US dollars in a day (UTC), by the prices of the config; null: no limit."
    )
    admin: bool = Field(False, description="Whether it shows the operators' views; such a key asks no models.")

    @model_validator(mode="after")
    def _admins_ask_nothing(self) -> Self:
        limits = (self.models, self.requests_per_minute, self.tokens_per_minute, self.usd_per_day)
        if self.admin and any(limit is not None for limit in limits):
            raise ValueError("admin: such a key asks no models, so it has no models and no limits")
        return self


class KeyFile(Strict):
    """The whole file."""

    api_keys: dict[KeyName, ApiKey] = Field({}, description="Keys by the names that records and metrics show.")

    @model_validator(mode="after")
    def _each_key_has_one_name(self) -> Self:
        names: dict[str, str] = {}
        for name, key in self.api_keys.items():
            if key.sha256 in names:
                raise ValueError(f"api_keys.{name}.sha256: {names[key.sha256]!r} has the same; a key has one name")
            names[key.sha256] = name
        return self

    def name_of(self, secret: str) -> str | None:
        """Return the name of a key, or None. It takes as long for a wrong key as for any of the right ones."""
        presented = digest(secret)
        match = None
        for name, key in self.api_keys.items():
            if hmac.compare_digest(key.sha256, presented):
                match = name
        return match


def digest(secret: str) -> str:
    """Return the SHA-256 of a key in hexadecimal digits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def read_keys(path: Path) -> KeyFile:
    """Return the keys in a file. Raises ConfigError with a sentence for each thing that is wrong."""
    values = read_yaml(path, "keys file")
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping with `api_keys` in it.")
    try:
        return KeyFile.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {sentence}" for sentence in explain(error, KeyFile))) from None


def create_key(path: Path, name: str, **rights: object) -> str:
    """Add a key to a file, which may not exist yet, and return it: it is stored nowhere.

    `rights` are the fields of `ApiKey`. Raises ConfigError if the name is taken, or something in them is wrong.
    """
    secret = PREFIX + secrets.token_urlsafe(KEY_BYTES)

    def add(file: KeyFile) -> KeyFile:
        if name in file.api_keys:
            raise ConfigError(f"{path}: there is a key {name!r} already; choose another name, or revoke it first.")
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        key = {"sha256": digest(secret), "created": created, **rights}
        try:
            return KeyFile.model_validate({"api_keys": {**file.model_dump()["api_keys"], name: key}})
        except ValidationError as error:
            raise ConfigError("\n".join(explain(error, KeyFile))) from None

    _change(path, add)
    return secret


def revoke_key(path: Path, name: str) -> None:
    """Remove a key from a file. Raises ConfigError if it has no key of that name."""

    def remove(file: KeyFile) -> KeyFile:
        if name not in file.api_keys:
            raise ConfigError(f"{path}: there is no key {name!r}. {choices(name, file.api_keys)}")
        return KeyFile(api_keys={key_name: key for key_name, key in file.api_keys.items() if key_name != name})

    read_keys(path)  # a file that does not exist is not made
    _change(path, remove)


def _change(path: Path, change: Callable[[KeyFile], KeyFile]) -> None:
    """Replace the file as a whole, so that a server never reads half of it, and no other command's change is lost."""
    try:
        with _locked(path.resolve().parent):
            new_file = change(read_keys(path) if path.exists() else KeyFile())
            _write(path, yaml.safe_dump(new_file.model_dump(exclude_defaults=True), sort_keys=False))
    except OSError as error:
        raise ConfigError(f"The keys file {str(path)!r} cannot be written: {error.strerror}.") from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder against other commands: it is there already, where a lock file would stay beside the keys."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    # A temporary file of Python's has mode 600 from the beginning. A link is followed: its target is what is replaced.
    target = path.resolve()
    with NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, prefix=target.name, delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if target.exists():
                _keep_owner(target, file.fileno())
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink()
            raise


def _keep_owner(target: Path, descriptor: int) -> None:
    """Give a new file the owner and the group of the old one, so that the server which reads that can read this.

    The group may read if it could before; others may not.
    """
    status = target.stat()
    with suppress(PermissionError):  # only root may give a file away
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, status.st_mode & 0o640)
