"""What Prometheus and a collector of traces get to see of the graph on real Ray Serve."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any

import httpx
import pytest

from tests.deployments.collector import Collector, attributes, collecting
from tests.serve.conftest import PATIENCE_S, REPLAY, Served, serving, until

pytestmark = pytest.mark.serve

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Served]:
    values: dict[str, Any] = deepcopy(REPLAY)
    values["applications"][0]["args"]["router"] |= {"tracing": {"endpoint": collector.url}}
    values["applications"][0]["args"]["scorer"] = {"inline_characters": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_metrics_report_interval_ms", "5000")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        with serving(values, tmp_path_factory.mktemp("observed")) as served:
            yield served


def ask(served: Served, text: str, **options: Any) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": text}]} | options
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    with httpx.Client(base_url=served.url, timeout=60, trust_env=False) as http:
        http.post("/v1/chat/completions", json=body, headers=headers)


async def scraped() -> Samples:
    """Ours among what the node exports, by name and our own labels; counts of replicas added up."""
    import ray
    from prometheus_client.parser import text_string_to_metric_families

    [node] = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    try:
        async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
            text = (await http.get(address)).text
    except httpx.TransportError:  # busy, and asked again
        return {}
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("ray_cascade_"):
                assert sample.labels["application"] == "cascade"
                assert sample.labels["deployment"]
                assert sample.labels["replica"]
                own = frozenset((key, value) for key, value in sample.labels.items() if key in OWN)
                found[sample.name, own] = found.get((sample.name, own), 0) + sample.value
    return found


OWN = {
    "bound",
    "cascade",
    "outcome",
    "model",
    "tier",
    "accepted",
    "reason",
    "signal",
    "phase",
    "role",
    "status",
    "kind",
    "use",
    "le",
}


def series(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"ray_cascade_{name}", frozenset(labels.items())


async def test_counts(observed: Served) -> None:
    for text in ("Capital of France?", "Capital of France?", "How many?", "one waits, target fails"):
        await asyncio.to_thread(ask, observed, text)
    await asyncio.to_thread(ask, observed, "How many?", stream=True)
    expected = {
        series("requests_total", cascade="default", outcome="accepted", model="first"): 2,
        series("requests_total", cascade="default", outcome="deferred", model="target"): 2,
        series("requests_total", cascade="default", outcome="failed", model=""): 1,
        series("decisions_total", cascade="default", tier="0", accepted="true", reason="agreement"): 2,
        series("decisions_total", cascade="default", tier="0", accepted="false", reason="disagreement"): 2,
        series("decisions_total", cascade="default", tier="0", accepted="false", reason="too_few_answers"): 1,
        series("agreement_count", cascade="default", tier="0", signal="rougeL"): 4,
        series("agreement_bucket", cascade="default", tier="0", signal="rougeL", le="0.7"): 0,
        series("agreement_bucket", cascade="default", tier="0", signal="rougeL", le="0.75"): 2,
        series("agreement_bucket", cascade="default", tier="0", signal="rougeL", le="1.0"): 4,
        series("threshold", cascade="default", tier="0"): 0.9,
        series("user_config_refused"): 0,
        series("request_seconds_count", cascade="default", phase="whole"): 5,
        series("request_seconds_count", cascade="default", phase="target"): 3,
        series("request_seconds_count", cascade="default", phase="first_text"): 1,
        series("model_calls_total", cascade="default", model="first", role="member", status="ok"): 4,
        series("model_calls_total", cascade="default", model="first", role="member", status="error"): 1,
        series("model_calls_total", cascade="default", model="target", role="target", status="error"): 1,
        series("model_seconds_count", model="target"): 2,
        # "Capital of France?" has 3 words, "How many?" 2; the target answers with 3
        series("tokens_total", cascade="default", model="first", kind="prompt", use="returned"): 6,
        series("tokens_total", cascade="default", model="second", kind="prompt", use="unused"): 6 + 4,
        series("tokens_total", cascade="default", model="target", kind="completion", use="returned"): 6,
        series("cost_usd_total", cascade="default", model="target"): pytest.approx(6 * 2 / 1e6),
        series("target_only_cost_usd_total", cascade="default"): pytest.approx((6 + 8) * 2 / 1e6),
        series("scorer_batch_texts_count", signal="rougeL"): 4,
        series("scorer_waiting_requests", signal="rougeL"): 0,
        # three models have one replica each
        series("engine_active_requests"): 0,
    }

    seen: dict[Any, float | None] = {}

    async def arrived() -> bool:
        found = await scraped()
        seen.update({key: found.get(key) for key in expected})
        return seen == expected

    # Every replica reports by its own clock.
    with suppress(TimeoutError):
        await until(arrived, True)
    assert seen == expected


async def test_a_change_of_the_threshold_shows(observed: Served) -> None:
    def change(settings: dict[str, Any]) -> None:
        def write(values: dict[str, Any]) -> None:
            values["applications"][0]["deployments"] = [{"name": "Router", "user_config": settings}]

        observed.rewrite(write)
        observed.deploy()

    async def gauges() -> list[float | None]:
        found = await scraped()
        wanted = [series("threshold", cascade="default", tier="0"), series("user_config_refused")]
        rates = [series("calibrated_deferral_rate", cascade="default", bound=it) for it in ("expected", "low", "high")]
        return [found.get(key) for key in wanted + rates]

    calibrated = {"id": "default-1", "thresholds": [0.5], "deferral_rate": [0.4, 0.3, 0.45]}
    await asyncio.to_thread(change, {"thresholds": {"default": [0.5]}, "calibrations": {"default": calibrated}})
    await until(gauges, [0.5, 0, 0.4, 0.3, 0.45])
    await asyncio.to_thread(change, {"thresholds": {"defualt": [0.2]}})
    await until(gauges, [0.5, 1, 0.4, 0.3, 0.45])


async def test_one_trace_from_the_client_to_the_target(observed: Served, collector: Collector) -> None:
    """Last in this file: spans wait for an hour to be sent, or until Serve stops the router."""
    from ray import serve

    assert not collector.spans()
    await asyncio.to_thread(serve.shutdown)
    spans = collector.spans()
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    requests = [span for span in spans if span.name == "chat default"]
    assert {span.parent_span_id.hex() for span in requests} == {PARENT}
    assert {span.parent_span_id for span in spans if span not in requests} == {span.span_id for span in requests}
    counted = Counter(span.name for span in spans)
    assert counted == {
        "chat default": 5,
        "chat first": 5,
        "chat second": 5,
        "score rougeL": 4,
        "decide": 5,
        "chat target": 3,
    }
    reasons = Counter(attributes(span)["cascade.reason"] for span in spans if span.name == "decide")
    assert reasons == {"agreement": 2, "disagreement": 2, "too_few_answers": 1}
