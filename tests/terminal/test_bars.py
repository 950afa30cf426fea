"""Bars are drawn on a terminal only, and only while their base is entered."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from serve_app.terminal.bars import Bars


@pytest.mark.parametrize("terminal", [False, True])
def test_bars_live_as_long_as_their_base_is_entered(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    bars = Bars(console, lambda own: Progress(console=own))
    assert (bars._bars is not None) == terminal
    with bars as entered:
        assert entered is bars
        if bars._bars is not None:
            assert bars._bars.live.is_started
    if bars._bars is not None:
        assert not bars._bars.live.is_started
