"""A file is replaced as a whole or stays as it was."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve_app.files.whole_file import whole_file


def test_it_is_there_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_halfway() -> None:
        with whole_file(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail_halfway()
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_a_link_stays_and_permissions_are_kept(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with whole_file(link) as partial:
        partial.write_text("new")
    assert link.is_symlink()
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o640)


@pytest.mark.parametrize("has_leftover", [False, True])
def test_while_it_is_written_it_is_as_private_as_the_old_one(tmp_path: Path, has_leftover: bool) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o600)
    if has_leftover:  # of a killed process with the same id
        (tmp_path / f".a.txt.{os.getpid()}.partial").write_text("half of another")
    with whole_file(path) as partial:
        with partial.open("wb") as file:
            file.write(b"new")
        assert partial.stat().st_mode & 0o777 == 0o600
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)


def test_a_new_one_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    other_file = tmp_path / "b.txt"
    other_file.touch()
    with whole_file(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert (tmp_path / "a.txt").stat().st_mode == other_file.stat().st_mode


@pytest.fixture(params=["create", "rename"])
def refusing(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a folder with one file, `a.txt`: no other can be made, or none can be put in its place."""
    folder, scratch = tmp_path / "folder", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    (folder / "a.txt").write_text("the old one")
    (folder / "a.txt").chmod(0o600)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    create = os.open

    def refuse_to_create(path: Any, *options: Any, **keywords: Any) -> int:
        if Path(path).parent == folder:
            raise PermissionError(errno.EACCES, "Permission denied")
        return create(path, *options, **keywords)

    def refuse_to_rename(*_: Any) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    if request.param == "create":
        monkeypatch.setattr(os, "open", refuse_to_create)
    monkeypatch.setattr(Path, "replace", refuse_to_rename)
    yield folder
    assert [file.name for file in folder.iterdir()] == ["a.txt"]
    assert not [*scratch.iterdir()]


def test_a_file_in_a_folder_that_takes_no_other_is_written_in_place(refusing: Path) -> None:
    """As one that is mounted by itself into a container, or a writable one in a folder of somebody else's."""
    path = refusing / "a.txt"
    before = path.stat()
    with whole_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "the old one"
        assert partial.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "new"
    assert (path.stat().st_ino, path.stat().st_mode) == (before.st_ino, before.st_mode)


def test_an_error_leaves_it_as_it_was_in_such_a_folder_too(refusing: Path) -> None:
    path = refusing / "a.txt"
    with pytest.raises(FileNotFoundError), whole_file(path) as partial:
        partial.write_bytes((refusing / "absent").read_bytes())
    assert path.read_text() == "the old one"


def test_a_new_file_in_such_a_folder_is_an_os_error(refusing: Path) -> None:
    with pytest.raises(OSError, match=r"denied|busy"), whole_file(refusing / "b.txt") as partial:
        partial.write_text("new")


def test_a_full_disk_is_no_reason_to_write_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"), whole_file(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "old"


def test_where_nothing_can_be_written_it_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "absent" / "a.txt") as partial:
        partial.write_text("new")


def test_a_write_protected_file_is_not_replaced(tmp_path: Path) -> None:
    """A rename would do it, for its permissions say nothing of its folder; and root may write any file."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(PermissionError, match="it is write-protected"), whole_file(path) as partial:
        partial.write_text("new")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_a_device_is_written_to() -> None:
    with whole_file(Path("/dev/null")) as path:
        assert path == Path("/dev/null")


def test_a_pipe_is_written_to() -> None:
    """As /dev/stdout often is: what the link leads to has no path."""
    reading, writing = os.pipe()
    with whole_file(Path(f"/dev/fd/{writing}")) as path:
        path.write_text("new")
    os.close(writing)
    assert os.read(reading, 9) == b"new"
    os.close(reading)
