"""Waiting for a volume that another process fills."""

from pathlib import Path
from threading import Event, Thread

import pytest

from serve_app.errors import WeightsError
from serve_app.weights import wait_until_cached
from tests.patience import PATIENCE_S


def test_returns_at_once_when_everything_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"a")
    sentences: list[str] = []
    wait_until_cached([("a", str(tmp_path / "a.gguf"), None)], sentences.append)
    assert sentences == []


def test_says_what_is_missing_as_it_gets_less(tmp_path: Path) -> None:
    sentences: list[str] = []
    spoken = Event()

    def say(sentence: str) -> None:
        sentences.append(sentence)
        spoken.set()

    sources = [(name, str(tmp_path / name), None) for name in ("a", "b")]
    waiting = Thread(target=wait_until_cached, args=(sources, say, 0.01), daemon=True)
    waiting.start()
    for name in ("a", "b"):
        assert spoken.wait(60)
        spoken.clear()
        (tmp_path / name).write_bytes(b"x")
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
    assert sentences == ["Waiting for a, b.", "Waiting for b."]


def test_a_malformed_source_is_no_reason_to_wait() -> None:
    with pytest.raises(WeightsError, match="there is no source 'ftp://'"):
        wait_until_cached([("a", "ftp://somewhere", None)], print)
