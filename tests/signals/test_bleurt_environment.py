from pathlib import Path

import pytest

from serve_app.errors import SignalError
from serve_app.signals.bleurt_environment import make_environment


def test_no_environment_is_made_in_a_folder_with_something_else_in_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(SignalError, match="exists but is not an environment"):
        make_environment(tmp_path)
    assert (tmp_path / "thesis.txt").exists()
