"""OpenTelemetry spans of a request: itself, each model call, scoring and every decision, as children of the request.

Imported only if tracing is on. Names and attributes follow OpenTelemetry's conventions for generative AI
(`gen_ai.*`); what those do not know is called `cascade.*`. No text of prompts, answers or errors goes into a span.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from time import perf_counter, time_ns

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from serve_app import __version__
from serve_app.config import TracingConfig
from serve_app.core.protocols import Model, Scorer
from serve_app.core.record import DecisionRecord, usage
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Delta, Generation
from serve_app.core.types.outcome import Outcome, TierResult
from serve_app.core.types.prompt import Prompt
from serve_app.core.types.scores import Scores
from serve_app.errors import SignalError

EXPORT_TIMEOUT_S = 5.0
"""A collector that does not answer costs spans, and at most this time when the replica stops; never a request."""


class Tracing:
    """Follows runs and sends their spans. `engines` maps each model to its engine.

    The environment may name the service and add to it as with any OpenTelemetry program (`OTEL_SERVICE_NAME`,
    `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS` for a collector's token, `OTEL_BSP_*`).
    """

    def __init__(self, config: TracingConfig, engines: Mapping[str, str]) -> None:
        resource = Resource({SERVICE_NAME: "semantic-cascade", SERVICE_VERSION: __version__})
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(config.sample_ratio),
            resource=resource.merge(OTELResourceDetector().detect()),
        )
        url = f"{config.endpoint.removesuffix('/')}/v1/traces"
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, timeout=EXPORT_TIMEOUT_S)))
        self._tracer = self._provider.get_tracer("semantic-cascade", __version__)
        self._engines = engines

    def follow(self, cascade: str, run: Run) -> "RequestSpan":
        """Make the run's model calls and scoring spans from now on, in its client's trace if it came with one."""
        started_ns = time_ns() - int((perf_counter() - run.started) * 1e9)
        span = self._tracer.start_span(
            f"{_operation(run.prompt)} {cascade}",
            context=PROPAGATOR.extract(run.prompt.trace, Context()),
            kind=SpanKind.SERVER,
            start_time=started_ns,
            attributes=_request_attributes(run.prompt, "semantic-cascade", cascade),
        )
        context = set_span_in_context(span, Context())
        run.models = {
            name: TracedModel(run.models[name], name, self._engines[name], self._tracer, context)
            for tier in run.tiers
            for name in tier.models
        }
        run.scorer = TracedScorer(run.scorer, self._tracer, context)
        return RequestSpan(span, started_ns, self._tracer)

    def flush(self) -> None:
        """Send all spans that wait to be sent."""
        self._provider.force_flush()


PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """The span of a whole request, which began at `started_ns` (nanoseconds since the epoch)."""

    span: Span
    started_ns: int
    tracer: Tracer

    def end(self, run: Run, outcome: Outcome | None, record: DecisionRecord) -> None:
        """Add a span for each decision, set the result, and end."""
        if not self.span.is_recording():
            return
        self._add_decisions(run.results)
        tokens = usage(run.calls)
        self.span.set_attributes(
            {
                "gen_ai.usage.input_tokens": tokens.prompt_tokens,
                "gen_ai.usage.output_tokens": tokens.completion_tokens,
                "cascade.reason": record.reason,
            }
        )
        if outcome is None:
            self.span.set_attribute("error.type", "cancelled")
        else:
            self._set_outcome(outcome)
        self.span.end()

    def _add_decisions(self, results: Sequence[TierResult]) -> None:
        context, ended_ns = set_span_in_context(self.span, Context()), self.started_ns
        for number, result in enumerate(results):
            ended_ns += int(result.elapsed_s * 1e9)
            if result.judged is not None:
                began_ns = ended_ns - int(result.scoring_s * 1e9)
                attributes = _decision_attributes(number, result)
                self.tracer.start_span("decide", context, start_time=began_ns, attributes=attributes).end(ended_ns)

    def _set_outcome(self, outcome: Outcome) -> None:
        self.span.set_attribute("cascade.deferred", outcome.deferred)
        if outcome.cached is not None:
            self.span.set_attribute("cascade.cached_age_s", outcome.cached.age_s)
        if outcome.skipped is not None and outcome.skipped.verdict is not None:
            self.span.set_attribute("cascade.skipped", outcome.skipped.verdict)
        _set_result(self.span, outcome.answer, outcome.answered_by)


class TracedModel:
    """A model whose calls are spans, in which the model's own requests to others take part."""

    def __init__(self, model: Model, name: str, engine: str, tracer: Tracer, context: Context) -> None:
        self._model, self._name, self._engine = model, name, engine
        self._tracer, self._context = tracer, context

    async def generate(self, prompt: Prompt) -> Answer:
        with self._span(prompt) as span:
            answer = await self._model.generate(_within(prompt, span))
            _set_usage(span, answer, self._name)
        return answer

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        started, answer = False, None
        with self._span(prompt) as span:
            async with aclosing(self._model.stream(_within(prompt, span))) as items:
                async for item in items:
                    if not isinstance(item, Delta):
                        answer = item
                        _set_usage(span, answer, self._name)
                        continue
                    if not started:
                        started = True
                        span.add_event("first token")
                    yield item
        if answer is not None:
            yield answer

    @contextmanager
    def _span(self, prompt: Prompt) -> Iterator[Span]:
        span = self._tracer.start_span(
            f"{_operation(prompt)} {self._name}",
            self._context,
            SpanKind.CLIENT,
            attributes=_request_attributes(prompt, self._engine, self._name),
        )
        try:
            yield span
        except BaseException as error:
            # A cancellation is not a failure: the tier was lost, or the client left.
            span.set_attribute("error.type", "cancelled" if not isinstance(error, Exception) else type(error).__name__)
            raise
        finally:
            span.end()


class TracedScorer:
    """A scorer whose calls are spans."""

    def __init__(self, scorer: Scorer, tracer: Tracer, context: Context) -> None:
        self._scorer, self._tracer, self._context = scorer, tracer, context

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        span = self._tracer.start_span(
            f"score {signal}", self._context, attributes={"cascade.signal": signal, "cascade.texts": len(texts)}
        )
        try:
            return await self._scorer.score(signal, texts, since)
        except SignalError:
            span.set_attribute("error.type", SignalError.__name__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.end()


def _within(prompt: Prompt, span: Span) -> Prompt:
    headers: dict[str, str] = {}
    PROPAGATOR.inject(headers, set_span_in_context(span, Context()))
    return replace(prompt, trace=headers)


def _operation(prompt: Prompt) -> str:
    return "chat" if prompt.text is None else "text_completion"


def _request_attributes(prompt: Prompt, provider: str, model: str) -> dict[str, AttributeValue]:
    sampling = prompt.sampling
    attributes = {
        "gen_ai.operation.name": _operation(prompt),
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.seed": sampling.seed,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _set_usage(span: Span, answer: Answer, model: str) -> None:
    span.set_attribute("gen_ai.usage.input_tokens", answer.prompt_tokens)
    span.set_attribute("gen_ai.usage.output_tokens", answer.completion_tokens)
    span.set_attribute("cascade.engine_s", answer.latency_s)
    if isinstance(answer, Generation) and answer.first_token_s is not None:
        span.set_attribute("cascade.first_token_s", answer.first_token_s)
    _set_result(span, answer, model)


def _set_result(span: Span, answer: Answer, model: str) -> None:
    if isinstance(answer, Generation):
        span.set_attribute("gen_ai.response.model", model)
        span.set_attribute("gen_ai.response.finish_reasons", [answer.finish_reason])
        return
    span.set_attribute("error.type", answer.kind)
    if answer.kind != "cancelled":
        span.set_status(StatusCode.ERROR)


def _decision_attributes(number: int, result: TierResult) -> dict[str, AttributeValue]:
    decision = result.decision
    selected = None if decision.selected is None else result.tier.models[decision.selected]
    attributes = {
        "cascade.tier": number,
        "cascade.signal": result.tier.signal,
        "cascade.agreement": decision.agreement,
        "cascade.threshold": decision.threshold,
        "cascade.accepted": decision.accepted,
        "cascade.reason": decision.reason,
        "cascade.selected": selected,
    }
    return {name: value for name, value in attributes.items() if value is not None}
