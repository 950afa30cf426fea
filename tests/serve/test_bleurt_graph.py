"""BLEURT under real Ray Serve: a scorer in an environment of its own, beside the one that all other signals share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bleurt_process import BleurtProcess
from tests.serve.conftest import PATIENCE_S, Served, serving

pytestmark = pytest.mark.serve

ANSWERS = {"first": "The capital of France is Paris.", "second": "Paris is the capital of France, I believe."}


def config(python: Path, checkpoint: Path) -> dict[str, Any]:
    def model(name: str) -> dict[str, Any]:
        answers = [{"contains": "at length", "text": "cat " * 700}]
        return {"engine": "replay", "answers": answers, "default": ANSWERS.get(name, "From the target.")}

    def cascade(signal: str) -> dict[str, Any]:
        members = {"models": ["first", "second"], "signal": signal, "threshold": 0.0}
        return {"tiers": [members, {"models": ["target"]}]}

    own = {"weights": str(checkpoint), "environment": str(python), "device": "cpu", "threads": 1}
    mix = [{"signal": "bleurt"}, {"signal": "rougeL"}]
    args = {
        "models": {name: model(name) for name in ("first", "second", "target")},
        "signals": {"bleurt": {"kind": "bleurt", **own}, "mixed": {"kind": "mix", "parts": mix}},
        "cascades": {"default": cascade("bleurt"), "mixed": cascade("mixed"), "lexical": cascade("rougeL")},
    }
    application = {"name": "cascade", "route_prefix": "/", "import_path": "serve_app.app:build_app", "args": args}
    return {"applications": [application]}


@pytest.fixture(scope="module")
def served(bleurt_python: Path, bleurt_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(config(bleurt_python, bleurt_checkpoint), tmp_path_factory.mktemp("bleurt-graph")) as served:
        yield served


def tier(served: Served, question: str, model: str = "default") -> dict[str, Any]:
    """What the record says of the first tier."""
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    record = httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=60).json()["cascade"]
    first: dict[str, Any] = record["tiers"][0]
    return first


def test_the_record_has_what_the_reference_says(served: Served, bleurt: BleurtProcess) -> None:
    first, second = ANSWERS.values()
    forwards, backwards = bleurt.call("reference", [(first, second), (second, first)])
    record = tier(served, "Capital of France?")
    assert (record["signal"], record["reason"]) == ("bleurt", "agreement")
    assert record["similarities"] == [[1, pytest.approx(forwards, abs=1e-5)], [pytest.approx(backwards, abs=1e-5), 1]]
    assert record["agreement"] == pytest.approx((forwards + backwards) / 2, abs=1e-5)
    assert "truncated_pairs" not in record


def test_pairs_that_were_cut_are_in_the_record(served: Served) -> None:
    assert tier(served, "Answer at length")["truncated_pairs"] == 2


def test_a_mix_has_parts_in_both_scorers(served: Served) -> None:
    similarities = [tier(served, "Capital?", model)["similarities"] for model in ("default", "lexical", "mixed")]
    [own, shared, mixed] = [matrix[0][1] for matrix in similarities]
    assert mixed == pytest.approx((own + shared) / 2)


def test_ready_when_its_scorer_is(served: Served) -> None:
    state = httpx.get(f"{served.url}/readyz", timeout=PATIENCE_S).json()
    assert state["ready"] is True
    assert state["replicas"] == {"first": 1, "second": 1, "target": 1, "Scorer": 1, "bleurt": 1, "Router": 1}
