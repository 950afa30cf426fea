"""What Prometheus sees, through Ray's metrics: every name, label and help text, once.

Ray puts `ray_` before each name and adds the labels application, deployment and replica. It exports a histogram's
observations as the middles of their buckets: the counts and quantiles are right, the `_sum` is approximate. It exports
a gauge once for each time that it is set, and forgets it after two reports (20 s), so gauges are set with every health
check (10 s).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ray.serve.metrics import Counter, Gauge, Histogram

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0)
SHARES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
COUNTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. The values of its labels are names from the config, tiers' numbers, or values of a closed list."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


REQUESTS = Metric(
    "cascade_requests_total",
    "counter",
    ("cascade", "outcome", "model"),
    "Requests by how they ended: accepted (by the first tier; a single model's own too), deferred, failed, or "
    "cancelled (the client left, or the server broke off). model is the model that answered, or empty.",
)
DECISIONS = Metric(
    "cascade_decisions_total",
    "counter",
    ("cascade", "tier", "accepted", "reason"),
    "Decisions of every tier but the last; tiers count from 0.",
)
AGREEMENT = Metric(
    "cascade_agreement",
    "histogram",
    ("cascade", "tier", "signal"),
    "Agreement of the answers, of tiers that waited for all of them. Of token-level signals, which go up to 0, "
    "exp(agreement). Below 0 counts as 0.",
    (*SHARES, 1.5, 2.0, 4.0, 8.0),
)
THRESHOLD = Metric("cascade_threshold", "gauge", ("cascade", "tier"), "Threshold in force.")
CALIBRATED_RATE = Metric(
    "cascade_calibrated_deferral_rate",
    "gauge",
    ("cascade", "bound"),
    "Share of requests that the first tier should defer, by the calibration in force: expected, low, high (95%).",
)
REFUSED = Metric("cascade_user_config_refused", "gauge", (), "1 while the last change of thresholds is refused.")
REJECTED = Metric(
    "cascade_rejected_requests_total",
    "counter",
    ("model",),
    "Requests that got a 429 at once, because a model of their first tier had as many as may wait for it.",
)
LEFT_OUT = Metric(
    "cascade_left_out",
    "gauge",
    ("target",),
    "1 while a model, a scorer or the StateStore (target) is left out after failures in a row.",
)
CACHE = Metric(
    "cascade_cache_requests_total",
    "counter",
    ("cascade", "result"),
    "Requests of cascades with a cache: hit (a kept answer), shared (an equal request's run), miss (a run of its own), "
    "uncacheable (sampling not at temperature 0, or asked not to).",
)
KEY_REQUESTS = Metric(
    "cascade_key_requests_total",
    "counter",
    ("key", "result"),
    "Requests by the name of their API key: passed, or refused since requests, tokens or usd are used up, or since "
    "nobody could count them (uncounted); unauthorized, without a name, for those without a valid key.",
)
KEY_TOKENS = Metric("cascade_key_tokens_total", "counter", ("key",), "Tokens read and written, by API key.")
KEY_USD = Metric("cascade_key_cost_usd_total", "counter", ("key",), "US dollars spent, by API key.")
PRECHECKS = Metric(
    "cascade_prechecks_total",
    "counter",
    ("cascade", "result"),
    "Requests whose like was looked up (skip): deferred or accepted without a decision, neither (the cascade ran), "
    "failed (no look-up in time; the cascade ran).",
)
SHED = Metric(
    "cascade_shed_requests_total",
    "counter",
    ("cascade", "by"),
    "Requests decided under pressure (shed), by lower thresholds or by members alone.",
)
SHEDDING = Metric("cascade_shedding", "gauge", ("cascade",), "1 while a cascade with shed is under pressure.")
REQUEST_SECONDS = Metric(
    "cascade_request_seconds",
    "histogram",
    ("cascade", "phase"),
    "Time of requests that were not cancelled: waiting for members, scoring, target, whole; first_text is what the "
    "client of a stream waited for the first piece.",
    SECONDS,
)
CALLS = Metric(
    "cascade_model_calls_total",
    "counter",
    ("cascade", "model", "role", "status"),
    "Calls of models, as member or target: ok, or the kind of failure (error, timeout, cancelled, context_length, "
    "unavailable, refused, rate_limited, invalid_output).",
)
CALL_SECONDS = Metric(
    "cascade_model_seconds", "histogram", ("model",), "Time of whole answers, measured at the engine.", SECONDS
)
FIRST_TOKEN_SECONDS = Metric(
    "cascade_model_first_token_seconds", "histogram", ("model",), "Time to the first token at the engine.", SECONDS
)
TOKENS = Metric(
    "cascade_tokens_total",
    "counter",
    ("cascade", "model", "kind", "use"),
    "Tokens read (kind prompt) and written (completion), by what became of the answer: returned, unused, failed, "
    "cancelled, wasted (asked ahead of its tier, and not needed). All but returned is the price of deciding.",
)
FLOPS = Metric(
    "cascade_flops_total", "counter", ("cascade", "model"), "FLOPs spent, by model; that of scoring is Scorer."
)
USD = Metric("cascade_cost_usd_total", "counter", ("cascade", "model"), "US dollars spent, by model.")
DEVICE_SECONDS = Metric(
    "cascade_device_seconds_total",
    "counter",
    ("cascade", "model"),
    "Seconds for which requests held devices, by model (an upper bound) and Scorer.",
)
TARGET_FLOPS = Metric(
    "cascade_target_only_flops_total",
    "counter",
    ("cascade",),
    "FLOPs that the target alone would have spent on the answered requests; none if a model's size is unknown.",
)
TARGET_USD = Metric(
    "cascade_target_only_cost_usd_total",
    "counter",
    ("cascade",),
    "US dollars that the target alone would have cost for the answered requests.",
)
TARGET_DEVICE_SECONDS = Metric(
    "cascade_target_only_device_seconds_total",
    "counter",
    ("cascade",),
    "Device-seconds that the target alone would have taken for the answered requests.",
)
ENGINE_ACTIVE = Metric(
    "cascade_engine_active_requests",
    "gauge",
    (),
    "Requests that hold a slot of the replica's engine (not for vllm, which has its own).",
)
SCORER_WAITING = Metric(
    "cascade_scorer_waiting_requests", "gauge", ("signal",), "Requests that wait for the batch under way."
)
SCORER_BATCH_TEXTS = Metric("cascade_scorer_batch_texts", "histogram", ("signal",), "Texts scored in one go.", COUNTS)
SCORER_BATCH_SECONDS = Metric(
    "cascade_scorer_batch_seconds", "histogram", ("signal",), "Time to score a batch.", (0.001, 0.0025, 0.005, *SECONDS)
)

ROUTER = (
    REQUESTS,
    DECISIONS,
    AGREEMENT,
    THRESHOLD,
    CALIBRATED_RATE,
    REFUSED,
    REJECTED,
    LEFT_OUT,
    CACHE,
    KEY_REQUESTS,
    KEY_TOKENS,
    KEY_USD,
    PRECHECKS,
    SHED,
    SHEDDING,
    REQUEST_SECONDS,
    CALLS,
    CALL_SECONDS,
    FIRST_TOKEN_SECONDS,
    TOKENS,
    FLOPS,
    USD,
    DEVICE_SECONDS,
    TARGET_FLOPS,
    TARGET_USD,
    TARGET_DEVICE_SECONDS,
)
MODEL = (ENGINE_ACTIVE,)
SCORER = (SCORER_WAITING, SCORER_BATCH_TEXTS, SCORER_BATCH_SECONDS)

Measure: TypeAlias = tuple[Metric, float, tuple[str, ...]]
"""A value for a metric, and its labels' values in order."""


class Instruments:
    """Ray's side of some metrics, made once for a replica. Recording takes microseconds and never waits."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._record = {metric.name: _instrument(metric) for metric in metrics}

    def record(self, metric: Metric, value: float, *labels: str) -> None:
        """Add to a counter, observe into a histogram, or set a gauge."""
        self._record[metric.name](value, dict(zip(metric.labels, labels, strict=True)))

    def record_all(self, measures: Iterable[Measure]) -> None:
        """Record several measurements."""
        for metric, value, labels in measures:
            self.record(metric, value, *labels)


def _instrument(metric: Metric) -> Callable[[float, dict[str, str]], Any]:
    name = metric.name.removesuffix("_total")  # which Ray adds
    labels: Any = metric.labels  # Ray annotates a tuple of one
    match metric.kind:
        case "counter":
            return Counter(name, metric.help, labels).inc
        case "gauge":
            return Gauge(name, metric.help, labels).set
        case "histogram":
            return Histogram(name, metric.help, list(metric.buckets), labels).observe
