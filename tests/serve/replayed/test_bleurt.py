"""BLEURT under real Ray Serve: a scorer in an environment of its own, beside the one that all other signals share."""

from typing import Any

import httpx
import pytest

from tests.models.bleurt_process import BleurtProcess
from tests.patience import PATIENCE_S
from tests.serve.conftest import Served
from tests.serve.replayed.conftest import BLEURT_ANSWERS

pytestmark = pytest.mark.serve

FIRST, SECOND = BLEURT_ANSWERS


def tier(replayed: Served, question: str, model: str = "bleurt") -> dict[str, Any]:
    """Return the record's entry of the first tier."""
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    record = httpx.post(f"{replayed.url}/v1/chat/completions", json=body, timeout=PATIENCE_S).json()["cascade"]
    first: dict[str, Any] = record["tiers"][0]
    return first


def test_the_record_has_what_the_reference_says(replayed: Served, bleurt: BleurtProcess) -> None:
    forwards, backwards = bleurt.call("reference", [(FIRST, SECOND), (SECOND, FIRST)])
    record = tier(replayed, "Capital of Peru?")
    assert (record["signal"], record["reason"]) == ("bleurt", "agreement")
    assert record["similarities"] == [[1, pytest.approx(forwards, abs=1e-5)], [pytest.approx(backwards, abs=1e-5), 1]]
    assert record["agreement"] == pytest.approx((forwards + backwards) / 2, abs=1e-5)
    assert "truncated_pairs" not in record


def test_pairs_that_were_cut_are_in_the_record(replayed: Served) -> None:
    assert tier(replayed, "Answer at length")["truncated_pairs"] == 2


def test_a_mix_has_parts_in_both_scorers(replayed: Served) -> None:
    similarities = [
        tier(replayed, "Capital of Peru?", model)["similarities"] for model in ("bleurt", "lexical", "with-bleurt")
    ]
    [own, shared, mixed] = [matrix[0][1] for matrix in similarities]
    assert mixed == pytest.approx((own + shared) / 2)
