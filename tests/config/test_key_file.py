"""The keys file: hashes alone, one key a name, replaced as a whole and readable by nobody else."""

import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from serve_app.common.secrecy import holds_secret
from serve_app.config.key_file import KeyFile, create_key, digest, read_keys, revoke_key
from serve_app.errors import ConfigError

HASH = hashlib.sha256(b"sk-cascade-a").hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def test_a_key_is_known_by_its_hash_alone(path: Path) -> None:
    secret = create_key(path, "alice", models=["default"], requests_per_minute=60)
    assert secret not in path.read_text()
    assert secret.removeprefix("sk-cascade-") not in path.read_text()
    file = read_keys(path)
    key = file.api_keys["alice"]
    assert (key.sha256, key.models, key.requests_per_minute) == (digest(secret), ["default"], 60)
    assert (key.tokens_per_minute, key.usd_per_day, key.admin) == (None, None, False)
    assert file.name_of(secret) == "alice"


def test_the_hash_is_the_plain_sha_256_of_the_key() -> None:
    assert digest("sk-cascade-a") == HASH


@pytest.mark.parametrize("wrong", ["", "sk-cascade-b", "sk-cascade-a ", "SK-CASCADE-A", HASH, "\udcff"])
def test_a_wrong_key_has_no_name(wrong: str) -> None:
    file = KeyFile.model_validate({"api_keys": {"alice": {"sha256": HASH}}})
    assert (file.name_of("sk-cascade-a"), file.name_of(wrong)) == ("alice", None)


@pytest.mark.parametrize("right", [0, 2, 4])
def test_every_hash_is_compared_whichever_is_right(right: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong key takes as long as a right one, wherever that stands in the file."""
    hashes = {f"k{n}": {"sha256": digest(f"secret {n}")} for n in range(5)}
    file = KeyFile.model_validate({"api_keys": hashes})
    compared: list[str] = []

    def compare(first: str, second: str) -> bool:
        compared.append(first)
        return first == second

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert (file.name_of(f"secret {right}"), file.name_of("wrong")) == (f"k{right}", None)
    assert compared == [key.sha256 for key in file.api_keys.values()] * 2


def test_no_two_keys_are_equal_and_each_looks_like_a_secret(path: Path) -> None:
    secrets = {create_key(path, f"k{n}") for n in range(5)}
    assert len(secrets) == 5
    assert all(len(secret) == len("sk-cascade-") + 43 and holds_secret(secret) for secret in secrets)


def test_only_the_owner_reads_it_from_its_first_moment_on(path: Path) -> None:
    create_key(path, "alice")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o664)
    create_key(path, "bob")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640  # a server of the same group still reads it


def test_a_revoked_key_is_gone_and_the_others_stay(path: Path) -> None:
    alice, bob = create_key(path, "alice"), create_key(path, "bob", admin=True)
    revoke_key(path, "alice")
    file = read_keys(path)
    assert (file.name_of(alice), file.name_of(bob)) == (None, "bob")
    assert file.api_keys["bob"].admin


def test_a_failed_write_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key(path, "alice")
    before = path.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
        create_key(path, "bob")
    assert path.read_text() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["keys.yaml"]


def test_keys_created_at_once_are_all_kept(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: create_key(path, f"k{n}"), range(16)))
    assert len(read_keys(path).api_keys) == 16


def test_a_link_is_followed_as_kubernetes_and_admins_use_them(path: Path) -> None:
    path.symlink_to(path.parent / "real.yaml")
    create_key(path, "alice")
    assert path.is_symlink()
    assert "alice" in (path.parent / "real.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "rights", "sentence"),
    [
        ("a/b", {}, "api_keys.a/b.[key]: a name has up to 64 letters, digits"),
        ("a", {"admin": True, "models": ["m"]}, "api_keys.a.admin: such a key asks no models"),
        ("a", {"usd_per_day": 0}, "api_keys.a.usd_per_day: must be greater than or equal to 0.000001, got 0."),
        ("a", {"requests_per_minute": 0}, "api_keys.a.requests_per_minute: must be greater than 0, got 0."),
    ],
)
def test_what_cannot_be_a_key_is_a_sentence_and_no_file(
    path: Path, name: str, rights: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError) as error:
        create_key(path, name, **rights)
    assert str(error.value).startswith(sentence)
    assert not path.exists()


def test_a_name_is_taken_once(path: Path) -> None:
    create_key(path, "alice")
    with pytest.raises(ConfigError, match=r"there is a key 'alice' already; choose another name"):
        create_key(path, "alice")


def test_what_is_not_there_cannot_be_revoked(path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no keys file"):
        revoke_key(path, "alice")
    assert not path.exists()
    create_key(path, "alice")
    with pytest.raises(ConfigError, match=r"there is no key 'alic'\. Did you mean 'alice'\?"):
        revoke_key(path, "alic")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["a"], "expected a mapping with `api_keys` in it."),
        ({"api_keys": {"a": {}}}, "api_keys.a.sha256: required, but missing."),
        ({"api_keys": {"a": {"sha256": HASH, "rpm": 1}}}, "api_keys.a.rpm: unknown key."),
        ({"api_keys": {"a": {"sha256": HASH}, "b": {"sha256": HASH}}}, "api_keys.b.sha256: 'a' has the same"),
    ],
)
def test_a_file_that_is_wrong_says_where(path: Path, values: object, sentence: str) -> None:
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError) as error:
        read_keys(path)
    assert str(error.value).startswith(f"{path}: {sentence}")


def test_a_key_written_in_place_of_its_hash_is_refused_and_not_repeated(path: Path) -> None:
    path.write_text("api_keys: {a: {sha256: sk-cascade-0123456789}}")
    with pytest.raises(ConfigError) as error:
        read_keys(path)
    assert "api_keys.a.sha256" in str(error.value)
    assert "0123456789" not in str(error.value)


def test_a_folder_that_is_mistyped_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"k\.yaml' cannot be written: No such file or directory\.$"):
        create_key(tmp_path / "no such" / "k.yaml", "alice")
    assert not list(tmp_path.iterdir())
