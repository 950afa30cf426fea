"""Spans, as a collector receives them over HTTP."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from serve_app.config import TracingConfig
from serve_app.core.charges import charge
from serve_app.core.cost import ModelCost
from serve_app.core.record import decision_record
from serve_app.core.running.cascade import cascade_events, run_cascade
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Delta, Failure
from serve_app.core.types.outcome import Cached, Outcome, Precheck
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.deployments.observing.tracing import RequestSpan, Tracing
from tests.api.serving import HANG, Exact, Scripted
from tests.deployments.collector import Collector, attributes, collecting

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CLIENT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
NOT_SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
SERVER_KIND, CLIENT_KIND, ERROR = 2, 3, 2


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


class Traced:
    """A cascade of scripted models whose requests are traced."""

    def __init__(self, url: str, sample_ratio: float = 1) -> None:
        self.models = {"a": Scripted("Paris"), "b": Scripted("Rome"), "t": Scripted("It is Paris.")}
        engines = dict.fromkeys(self.models, "replay")
        self.tracing = Tracing(TracingConfig(endpoint=url, sample_ratio=sample_ratio), engines)

    def follow(self, trace: dict[str, str], *, stream: bool = False) -> tuple[Run, RequestSpan]:
        sampling = Sampling(max_tokens=7)
        prompt = Prompt((Message("user", "The secret question"),), sampling=sampling, trace=trace)
        tiers = (Tier(("a", "b"), "exact", threshold=0.5), Tier(("t",)))
        run = Run(prompt, tiers, self.models, Exact(), stream=stream)
        return run, self.tracing.follow("default", run)

    def close(self, run: Run, span: RequestSpan, outcome: Outcome | None) -> None:
        charges = charge(run, outcome, dict.fromkeys(self.models, ModelCost()))
        record = decision_record("default", run, outcome, charges)
        span.end(run, outcome, record)
        self.tracing.flush()

    async def ask(self, trace: dict[str, str] | None = None) -> Outcome:
        run, span = self.follow(trace or {})
        outcome = await run_cascade(run)
        self.close(run, span, outcome)
        return outcome


async def test_a_request_whose_decision_was_skipped(collector: Collector) -> None:
    traced = Traced(collector.url)
    outcome = await traced.ask()
    traced.close(*traced.follow({}), replace(outcome, skipped=Precheck("deferred", 25, 1.0)))
    skipped = [span for span in collector.spans() if "cascade.skipped" in attributes(span)]
    assert [attributes(span)["cascade.skipped"] for span in skipped] == ["deferred"]


async def test_a_request_that_a_cache_answers(collector: Collector) -> None:
    traced = Traced(collector.url)
    outcome = await traced.ask()
    traced.close(*traced.follow({}), replace(outcome, cached=Cached(12.5)))
    cached = [span for span in collector.spans() if "cascade.cached_age_s" in attributes(span)]
    assert [attributes(span)["cascade.cached_age_s"] for span in cached] == [12.5]
    assert [attributes(span)["gen_ai.usage.output_tokens"] for span in cached] == [0]
    assert len([span for span in collector.spans() if span.name == "decide"]) == 1


async def test_a_deferred_request(collector: Collector) -> None:
    traced = Traced(collector.url)
    await traced.ask(CLIENT)
    assert collector.paths == {"/v1/traces"}
    request, *children = collector.spans()
    assert sorted(span.name for span in children) == ["chat a", "chat b", "chat t", "decide", "score exact"]
    assert (request.name, request.kind) == ("chat default", SERVER_KIND)
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    for span in children:
        assert (span.trace_id, span.parent_span_id) == (request.trace_id, request.span_id)
        times = [request.start_time_unix_nano, span.start_time_unix_nano, span.end_time_unix_nano]
        assert times == sorted(times)
        assert span.end_time_unix_nano <= request.end_time_unix_nano
    member, scoring, target = (collector.span(name) for name in ("chat a", "score exact", "chat t"))
    assert member.end_time_unix_nano <= scoring.start_time_unix_nano
    assert scoring.end_time_unix_nano <= target.start_time_unix_nano
    assert attributes(request) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "semantic-cascade",
        "gen_ai.request.model": "default",
        "gen_ai.request.max_tokens": 7,
        "gen_ai.response.model": "t",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.output_tokens": 1 + 1 + 3,
        "cascade.deferred": True,
        "cascade.reason": "disagreement",
    }
    assert attributes(collector.span("decide")) == {
        "cascade.tier": 0,
        "cascade.signal": "exact",
        "cascade.agreement": 0.25,
        "cascade.threshold": 0.5,
        "cascade.accepted": False,
        "cascade.reason": "disagreement",
        "cascade.selected": "a",
    }
    assert attributes(target) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "replay",
        "gen_ai.request.model": "t",
        "gen_ai.request.max_tokens": 7,
        "gen_ai.response.model": "t",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 3,
        "cascade.engine_s": 0.5,
        "cascade.first_token_s": 0.1,
    }


async def test_the_trace_goes_on_to_the_models(collector: Collector) -> None:
    traced = Traced(collector.url)
    await traced.ask(CLIENT)
    for name, model in traced.models.items():
        span = collector.span(f"chat {name}")
        assert span.kind == CLIENT_KIND
        traceparent = f"00-{TRACE}-{span.span_id.hex()}-01"
        assert model.prompts[0].trace == {"traceparent": traceparent, "tracestate": "vendor=1"}


async def test_no_text_goes_into_spans(collector: Collector) -> None:
    traced = Traced(collector.url)
    await traced.ask()
    traced.models["t"].text = Failure("error", "It choked on the secret question.")
    await traced.ask()
    sent = b"".join(collector.bodies)
    assert b"semantic-cascade" in sent
    for text in (b"secret", b"Paris", b"Rome"):
        assert text not in sent


@pytest.mark.parametrize(("ratio", "trace", "spans"), [(0, {}, 0), (1, {}, 6), (0, CLIENT, 6), (1, NOT_SAMPLED, 0)])
async def test_sampling(collector: Collector, ratio: float, trace: dict[str, str], spans: int) -> None:
    traced = Traced(collector.url, ratio)
    await traced.ask(trace)
    assert len(collector.spans()) == spans
    # Those asked on our behalf are told whether to sample, too.
    flags = int(traced.models["a"].prompts[0].trace["traceparent"][-2:], 16)
    assert flags % 2 == bool(spans)


async def test_failures(collector: Collector) -> None:
    traced = Traced(collector.url)
    traced.models["a"].text = Failure("timeout", "Too late.")
    traced.models["t"].text = Failure("unavailable", "Gone.")
    await traced.ask()
    failed = {span.name: attributes(span)["error.type"] for span in collector.spans() if span.status.code == ERROR}
    assert failed == {"chat default": "unavailable", "chat a": "timeout", "chat t": "unavailable"}
    assert "gen_ai.response.model" not in attributes(collector.span("chat default"))


async def test_a_stream_says_when_it_began(collector: Collector) -> None:
    traced = Traced(collector.url)
    traced.models["t"].pause_s = 0.001
    run, span = traced.follow({}, stream=True)
    texts, outcome = [], None
    async with aclosing(cascade_events(run)) as events:
        async for event in events:
            if isinstance(event, Delta):
                texts.append(event.text)
            elif isinstance(event, Outcome):
                outcome = event
    traced.close(run, span, outcome)
    assert "".join(texts) == "It is Paris."
    span = collector.span("chat t")
    [event] = span.events
    assert event.name == "first token"
    assert span.start_time_unix_nano < event.time_unix_nano < span.end_time_unix_nano
    assert attributes(span)["gen_ai.usage.output_tokens"] == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_request(collector: Collector, stream: bool) -> None:
    traced = Traced(collector.url)
    traced.models["t"].delay_s = HANG
    run, span = traced.follow({}, stream=stream)
    work = asyncio.create_task(run_cascade(run))
    await traced.models["t"].entered.wait()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert traced.models["t"].stopped == 1
    traced.close(run, span, None)
    ended = {span.name: attributes(span).get("error.type") for span in collector.spans()}
    assert ended == {
        "chat default": "cancelled",
        "chat a": None,
        "chat b": None,
        "score exact": None,
        "decide": None,
        "chat t": "cancelled",
    }
    assert not any(span.status.code == ERROR for span in collector.spans())


async def test_a_service_by_another_name(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
    await Traced(collector.url).ask()
    [resource] = [part.resource for request in collector.requests() for part in request.resource_spans]
    resource_attributes = attributes(resource)
    assert (resource_attributes["service.name"], resource_attributes["deployment.environment.name"]) == (
        "semantic-cascade",
        "staging",
    )


async def test_a_collector_that_is_not_there_costs_no_request() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        outcome = await Traced(f"http://127.0.0.1:{free.getsockname()[1]}").ask()
    assert outcome.answered_by == "t"


OFF = """
import sys
from typing import Any
from serve_app.config import AppConfig
from serve_app.deployments.router import Router

class Handle:
    def options(self, **_: Any) -> "Handle":
        return self

models = {"m": {"engine": "replay", "default": "x"}}
cascades = {"default": {"tiers": [{"models": ["m"]}]}}
Router(AppConfig.model_validate({"models": models, "cascades": cascades}), {}, Handle(), {})
wanted = ("opentelemetry.exporter.otlp", "serve_app.deployments.observing.tracing")
print([name for name in sys.modules if name.startswith(wanted)])
"""


def test_off_imports_nothing() -> None:
    result = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
