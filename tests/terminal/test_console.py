"""How wide results are: on a terminal, in a pipe, and as COLUMNS says."""

import pytest

from serve_app.terminal.console import PIPE_COLUMNS, result_console


@pytest.mark.parametrize(
    ("columns", "width"), [(None, PIPE_COLUMNS), ("", PIPE_COLUMNS), ("wide", PIPE_COLUMNS), ("90", 90)]
)
def test_a_pipe_has_the_width_that_columns_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str | None, width: int
) -> None:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    result_console().print("x" * (PIPE_COLUMNS + 1))
    assert len(capsys.readouterr().out.split("\n")[0]) == width
