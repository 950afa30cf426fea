"""Which sources can change, and what pins them."""

from pathlib import Path

import pytest

from serve_app.weights import fetch, pinned, unpinned
from tests.weights.fakes.hub_server import COMMIT, Hub
from tests.weights.fakes.wheels import sha256

DIGEST = "a" * 64


@pytest.mark.parametrize(
    ("weights", "digest", "expected"),
    [
        ("hf://org/repo", None, ["hf://org/repo"]),
        ("hf://org/repo@main", None, ["hf://org/repo@main"]),
        ("hf://org/repo@v1.0/m.gguf", None, ["hf://org/repo@v1.0/m.gguf"]),
        (f"hf://org/repo@{COMMIT}", None, []),
        (f"hf://org/repo@{COMMIT}/m.gguf", None, []),
        ("hf://org/repo/m.gguf", DIGEST, []),
        (["hf://org/repo/m.gguf", "pypi://m==1/m.gguf"], None, ["hf://org/repo/m.gguf"]),
        ("pypi://m==1/m.gguf", None, []),
        ("/models/m.gguf", None, []),
    ],
)
def test_what_can_change(weights: str | list[str], digest: str | None, expected: list[str]) -> None:
    assert unpinned(weights, digest) == expected


def test_what_pins_a_file_and_a_folder(hub: Hub, home: Path) -> None:
    file, folder = "hf://org/repo/sub/model.gguf", "hf://org/repo"
    digest = sha256(hub.files["sub/model.gguf"])
    assert pinned(file, None, fetch(file)) == ("sha256", digest)
    assert pinned(folder, None, fetch(folder)) == ("weights", f"hf://org/repo@{COMMIT}")
    assert pinned(file, digest, fetch(file, digest)) is None
