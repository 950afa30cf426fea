"""A file is replaced as a whole or stays as it was."""

import os
from pathlib import Path

import pytest

from serve_app.files.whole_file import whole_file


def test_it_is_there_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
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
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
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


@pytest.mark.parametrize("left", [False, True])
def test_while_it_is_written_it_is_as_private_as_the_old_one(tmp_path: Path, left: bool) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o600)
    if left:  # of a killed process with the same id
        (tmp_path / f".a.txt.{os.getpid()}.partial").write_text("half of another")
    with whole_file(path) as partial:
        with partial.open("wb") as file:
            file.write(b"new")
        assert partial.stat().st_mode & 0o777 == 0o600
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)


def test_a_new_one_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    other = tmp_path / "b.txt"
    other.touch()
    with whole_file(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert (tmp_path / "a.txt").stat().st_mode == other.stat().st_mode


def test_where_nothing_can_be_written_it_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "absent" / "a.txt") as partial:
        partial.write_text("new")


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
