"""The hub, against a server that speaks its API."""

import json
from pathlib import Path

import pytest

from serve_app.errors import WeightsError
from serve_app.weights import cached, fetch
from tests.weights.fakes.hub_server import COMMIT, TOKEN, Hub
from tests.weights.fakes.recorder import Recorder
from tests.weights.fakes.wheels import files_in, sha256, zipped


def test_hub_file(hub: Hub, home: Path) -> None:
    weights = hub.files["sub/model.gguf"]
    uri = "hf://org/repo/sub/model.gguf"
    progress = Recorder()
    assert cached(uri) is None
    path = fetch(uri, sha256(weights), progress=progress)
    assert path.is_relative_to(home / "hub")
    assert path.read_bytes() == weights
    assert progress.bytes[-1] == (len(weights), len(weights))
    hub.requests.clear()
    assert fetch(uri, sha256(weights)) == path
    assert cached(uri) is not None
    assert hub.requests == []


def test_hub_snapshot_without_other_frameworks(hub: Hub, home: Path) -> None:
    progress = Recorder()
    folder = fetch("hf://org/repo", progress=progress)
    assert files_in(folder) == ["config.json", "sub/model.gguf"]
    assert progress.bytes[-1] == (7002, 7002)
    hub.requests.clear()
    assert fetch("hf://org/repo") == folder
    assert cached("hf://org/repo@main") is not None  # by the hub's own cache, under another spelling
    assert hub.requests == []


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


def test_hub_wrong_digest_is_known_before_the_download(hub: Hub, home: Path) -> None:
    with pytest.raises(WeightsError, match=r"wrong SHA-256: expected 0{64}, got .*; it was not downloaded"):
        fetch("hf://org/repo/sub/model.gguf", "0" * 64)
    assert hub.requests == ["HEAD /org/repo/resolve/main/sub/model.gguf"]


def test_hub_wrong_digest_deletes_the_file(hub: Hub, home: Path) -> None:
    hub.reports_digests = False
    with pytest.raises(WeightsError, match="wrong SHA-256"):
        fetch("hf://org/repo/sub/model.gguf", "0" * 64)
    large_files = [path for path in home.rglob("*") if path.is_file() and path.stat().st_size >= 7000]
    assert large_files == []
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
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch("hf://org/repo/config.json") == path  # not in our cache under this URI, but in the hub's
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set, and the cache does not hold the file 'sub"):
        fetch("hf://org/repo/sub/model.gguf")
    assert hub.requests == []


def by_another_program(hub: Hub, home: Path, *names: str) -> None:
    """Fill the hub's cache as transformers does: with these files, and without a list of the repository's."""
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
    hub.requests.clear()
    path = cached("hf://org/repo/sub/model.gguf")
    assert path is not None
    assert path.stat().st_size == 7000
    assert hub.requests == []


def test_hub_out_of_reach(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"Could not fetch 'org/repo' at http://127.0.0.1:9.*Connection refused"):
        fetch("hf://org/repo")
