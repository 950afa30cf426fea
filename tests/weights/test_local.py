"""Files and folders that are on this machine already."""

from pathlib import Path

import pytest

from serve_app.errors import WeightsError
from serve_app.weights import cached, fetch
from tests.weights.fakes.recorder import Recorder
from tests.weights.fakes.wheels import sha256, zipped


def test_local_path(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for uri in ("m.gguf", "./m.gguf", "~/m.gguf", str(file)):
        assert fetch(uri).samefile(file)
        assert cached(uri) is not None
    assert fetch(".") == tmp_path
    assert not home.exists()
    with pytest.raises(WeightsError, match=rf"no file or folder {tmp_path / 'none.gguf'}"):
        fetch("none.gguf")
    with pytest.raises(WeightsError, match="a SHA-256 is of one file"):
        fetch(".", sha256(b""))


def test_a_name_that_no_disk_can_hold_is_refused(home: Path) -> None:
    for look in (fetch, cached):
        with pytest.raises(WeightsError, match=r"'a+' cannot be found: File name too long\."):
            look("a" * 300)


def test_local_file_is_checked_once_and_again_when_it_changes(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"weights")
    first, second = Recorder(), Recorder()
    assert fetch(str(file), sha256(b"weights"), progress=first) == file
    assert fetch(str(file), sha256(b"weights"), progress=second) == file
    assert (first.notes, second.notes) == (["checking"], [])
    file.write_bytes(b"corrupt")
    with pytest.raises(WeightsError, match="wrong SHA-256"):
        fetch(str(file), sha256(b"weights"))
    assert file.read_bytes() == b"corrupt"


def test_local_zip_is_unpacked_into_the_cache(home: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.zip"
    archive.write_bytes(zipped({"config.json": b"1"}))
    folder = fetch(str(archive), sha256(archive.read_bytes()))
    assert folder.is_relative_to(home)
    assert (folder / "config.json").read_bytes() == b"1"
    archive.write_bytes(zipped({"config.json": b"two"}))
    assert (fetch(str(archive)) / "config.json").read_bytes() == b"two"
