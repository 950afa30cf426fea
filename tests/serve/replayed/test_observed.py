"""What Prometheus gets to see of the graph on real Ray Serve: counts of a cascade that no other test asks."""

import asyncio
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.patience import PATIENCE_S
from tests.serve.conftest import Served, until
from tests.serve.replayed.scraped import scraped, series

pytestmark = pytest.mark.serve


def ask(served: Served, text: str, **options: Any) -> None:
    body = {"model": "observed", "messages": [{"role": "user", "content": text}]} | options
    with httpx.Client(base_url=served.url, timeout=PATIENCE_S, trust_env=False) as http:
        http.post("/v1/chat/completions", json=body)


async def test_counts(replayed: Served) -> None:
    for text in ("Capital of France?", "Capital of France?", "How many?", "one waits, target fails"):
        await asyncio.to_thread(ask, replayed, text)
    await asyncio.to_thread(ask, replayed, "How many?", stream=True)
    expected = {
        series("requests_total", cascade="observed", outcome="accepted", model="first"): 2,
        series("requests_total", cascade="observed", outcome="deferred", model="target"): 2,
        series("requests_total", cascade="observed", outcome="failed", model=""): 1,
        series("decisions_total", cascade="observed", tier="0", accepted="true", reason="agreement"): 2,
        series("decisions_total", cascade="observed", tier="0", accepted="false", reason="disagreement"): 2,
        series("decisions_total", cascade="observed", tier="0", accepted="false", reason="too_few_answers"): 1,
        series("agreement_count", cascade="observed", tier="0", signal="rouge2"): 4,
        series("agreement_bucket", cascade="observed", tier="0", signal="rouge2", le="0.65"): 0,
        series("agreement_bucket", cascade="observed", tier="0", signal="rouge2", le="0.7"): 2,
        series("agreement_bucket", cascade="observed", tier="0", signal="rouge2", le="1.0"): 4,
        series("threshold", cascade="observed", tier="0"): 0.9,
        series("user_config_refused"): 0,
        series("request_seconds_count", cascade="observed", phase="whole"): 5,
        series("request_seconds_count", cascade="observed", phase="target"): 3,
        series("request_seconds_count", cascade="observed", phase="first_text"): 1,
        series("model_calls_total", cascade="observed", model="first", role="member", status="ok"): 4,
        series("model_calls_total", cascade="observed", model="first", role="member", status="error"): 1,
        series("model_calls_total", cascade="observed", model="target", role="target", status="error"): 1,
        # "Capital of France?" has 3 words, "How many?" 2; the target answers with 3
        series("tokens_total", cascade="observed", model="first", kind="prompt", use="returned"): 6,
        series("tokens_total", cascade="observed", model="second", kind="prompt", use="unused"): 6 + 4,
        series("tokens_total", cascade="observed", model="target", kind="completion", use="returned"): 6,
        series("cost_usd_total", cascade="observed", model="target"): pytest.approx(6 * 2 / 1e6),
        series("target_only_cost_usd_total", cascade="observed"): pytest.approx((6 + 8) * 2 / 1e6),
        series("scorer_batch_texts_count", signal="rouge2"): 4,
        series("scorer_waiting_requests", signal="rouge2"): 0,
        series("engine_active_requests"): 0,
    }

    counts: dict[Any, float] = {}

    async def arrived() -> bool:
        samples = await scraped()
        # Ray exports a gauge once after it was set, and not until it is set again.
        counts.update({key: samples[key] for key in expected if key in samples})
        return counts == expected

    # Every replica reports by its own clock.
    with suppress(TimeoutError):
        await until(arrived, True)
    assert counts == expected


async def test_a_change_of_the_threshold_shows(replayed: Served) -> None:
    async def gauges() -> list[float | None]:
        samples = await scraped()
        keys = [series("threshold", cascade="observed", tier="0"), series("user_config_refused")]
        rates = [
            series("calibrated_deferral_rate", cascade="observed", bound=bound) for bound in ("expected", "low", "high")
        ]
        return [samples.get(key) for key in keys + rates]

    calibrated = {"id": "observed-1", "thresholds": [0.5], "deferral_rate": [0.4, 0.3, 0.45]}
    await asyncio.to_thread(
        replayed.reconfigure, {"thresholds": {"observed": [0.5]}, "calibrations": {"observed": calibrated}}
    )
    await until(gauges, [0.5, 0, 0.4, 0.3, 0.45])
    await asyncio.to_thread(replayed.reconfigure, {"thresholds": {"obsreved": [0.2]}})
    await until(gauges, [0.5, 1, 0.4, 0.3, 0.45])
