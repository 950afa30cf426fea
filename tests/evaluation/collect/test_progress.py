import io

import pytest
from rich.console import Console

from serve_app.evaluation.collect import progress as module
from serve_app.evaluation.collect.progress import CollectProgress, duration, rate


@pytest.mark.parametrize(
    ("per_s", "text"), [(None, ""), (12.34, "12.3/s"), (1.0, "1.0/s"), (0.5, "30.0/min"), (0.01, "0.6/min")]
)
def test_a_rate_is_in_seconds_or_if_slow_in_minutes(per_s: float | None, text: str) -> None:
    assert rate(per_s) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3723, "1:02:03"), (90000, "25:00:00")]
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_without_a_terminal_a_line_is_printed_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    output = io.StringIO()
    with CollectProgress(Console(file=output, width=80)) as shown:
        shown.add("small", total=4, count=1)
        shown.start("small")
        for failed in (0, 1, 1):
            now += 40.0
            shown.advance("small", failed)
    # Nothing after 40 s; then the line that is due after a minute; then the last.
    assert output.getvalue().splitlines() == [
        "small: 3 of 4, 1 failed, 1.5/min, 0:00:40 left",
        "small: 4 of 4, 1 failed, 1.5/min",
    ]
