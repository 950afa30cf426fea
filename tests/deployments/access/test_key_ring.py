"""The file of keys while a server runs: read again when it changes, and never to the server's harm."""

import logging
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from serve_app.config.key_file import create_key, revoke_key
from serve_app.deployments.access.key_ring import LOOK_AGAIN_S, KeyRing
from serve_app.errors import ConfigError


class Keys:
    """A ring, its file, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.yaml"
        self.secret = create_key(self.path, "alice")
        self.now = 100.0
        self.ring = KeyRing(self.path, lambda: self.now)

    def owner(self, secret: str | None = None) -> str | None:
        owner = self.ring.owner(Headers({"x-api-key": secret or self.secret}))
        return None if owner is None else owner[0]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def test_a_change_holds_after_a_second_and_no_sooner(keys: Keys) -> None:
    bob = create_key(keys.path, "bob")
    revoke_key(keys.path, "alice")
    keys.now += LOOK_AGAIN_S / 2
    assert (keys.owner(), keys.owner(bob)) == ("alice", None)
    keys.now += LOOK_AGAIN_S / 2
    assert (keys.owner(), keys.owner(bob)) == (None, "bob")


def test_an_unchanged_file_is_not_read_again(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.deployments.access.key_ring.read_keys", None)
    for _ in range(3):
        keys.now += LOOK_AGAIN_S
        assert keys.owner() == "alice"


@pytest.mark.parametrize("text", ["api_keys: [", "api_keys: {a: {}}", None])
def test_a_file_that_breaks_keeps_the_last_keys_and_says_so_once(
    keys: Keys, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    good = keys.path.read_text()
    if text is None:
        keys.path.unlink()
    else:
        keys.path.write_text(text)
    with caplog.at_level(logging.ERROR, "ray.serve"):
        for _ in range(3):
            keys.now += LOOK_AGAIN_S
            assert keys.owner() == "alice"
    assert keys.ring.refused is not None
    assert str(keys.path) in keys.ring.refused
    assert len(caplog.records) <= 1  # Ray Serve's logger may not propagate
    keys.path.write_text(good)
    keys.now += LOOK_AGAIN_S
    assert (keys.owner(), keys.ring.refused) == ("alice", None)


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no keys file"):
        KeyRing(tmp_path / "keys.yaml")


def test_a_file_that_could_not_be_read_is_read_again(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was wrong, such as too many open files, passes without a change of the file."""
    revoke_key(keys.path, "alice")
    with monkeypatch.context() as patched:
        patched.setattr("serve_app.deployments.access.key_ring.read_keys", unreadable)
        keys.now += LOOK_AGAIN_S
        assert keys.owner() == "alice"
    keys.now += LOOK_AGAIN_S
    assert (keys.owner(), keys.ring.refused) == (None, None)


def unreadable(path: Path) -> None:
    raise ConfigError(f"{path} cannot be read: Too many open files.")
