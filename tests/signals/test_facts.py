from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.console import Console

from serve_app.signals import DEFAULT_SIGNALS, TOKEN_SIGNALS, AnySignalConfig, Signal
from serve_app.signals.facts import FACTS, markdown, table

PAGE = Path(__file__).parents[2] / "docs" / "signals.md"


def kinds(config: Any) -> Iterator[str]:
    """Return every `kind` that a config of signals accepts."""
    if fields := getattr(config, "model_fields", None):
        yield from get_args(fields["kind"].annotation)
    else:
        for part in get_args(config):
            yield from kinds(part)


def test_every_kind_and_every_name_has_its_facts() -> None:
    assert set(FACTS) == {*kinds(AnySignalConfig), *DEFAULT_SIGNALS, *TOKEN_SIGNALS}


@pytest.mark.parametrize("name", ["exact", "bleu", "rouge1", "rouge2", "rougeL", "chrf", "json"])
def test_facts_are_true(name: str, signal_named: Callable[[str], Signal]) -> None:
    signal, facts = signal_named(name), FACTS[name]
    assert facts.symmetric == ("yes" if signal.symmetric else "no")
    assert facts.range.startswith(f"{signal.floor:g} ")
    assert facts.status == "yes"


def test_what_is_missing_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.signals.facts.find_spec", lambda module: None if module == "torch" else module)
    assert FACTS["sbert"].status == "no: pip install 'semantic-cascade[sbert]'"
    assert FACTS["exact"].status == "yes"


@pytest.mark.parametrize("width", [40, 80, 120, 200, 300])
def test_the_table_fits_any_width(width: int) -> None:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table(width))
    shown = capture.get()
    assert "…" not in shown
    assert all(len(line) <= width for line in shown.splitlines())
    assert all(kind in shown for kind in FACTS)


def test_the_page_on_signals_has_the_table() -> None:
    assert markdown() in PAGE.read_text(encoding="utf-8")
