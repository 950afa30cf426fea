"""The script that builds the API server, where it cannot."""

import os
import subprocess
from pathlib import Path

import pytest

BUILD = Path(__file__).parent / "build.sh"


@pytest.mark.parametrize("folder", ["", "file/folder"])
def test_without_its_folder_it_touches_nothing(tmp_path: Path, folder: str) -> None:
    """At its end it deletes, and that must not be in the folder that it was started from."""
    (tmp_path / "file").touch()
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text("#!/bin/sh\nexit 1\n")
    apt.chmod(0o755)
    path = f"{apt.parent}:{os.environ['PATH']}"
    result = subprocess.run(
        [BUILD, folder], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, check=False
    )
    assert result.returncode != 0
    assert {entry.name for entry in tmp_path.iterdir()} == {"file", "bin"}
