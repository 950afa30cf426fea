"""The values that flow through a cascade. All frozen: they cross processes and are compared in tests."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import exp, inf
from typing import Any, Literal, TypeAlias

from serve_app.core.deciding.signal_range import Range
from serve_app.core.text.characters import whole
from serve_app.core.tools import ResponseFormat, Tool, ToolChoice
from serve_app.core.views.view import View

Matrix: TypeAlias = tuple[tuple[float, ...], ...]
"""Similarities of n texts: `matrix[i][j]` is the signal for hypothesis i and reference j."""

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls"]
FailureKind: TypeAlias = Literal[
    "error",
    "timeout",
    "cancelled",
    "context_length",
    "unavailable",
    "refused",  # the request asks for something that the model cannot do: no other model is asked
    "rate_limited",  # the model, or its endpoint, takes no more requests for now
    "unaffordable",  # not asked: the request's budget is too small
    "invalid_output",  # the answer breaks the schema that the request demands
]
Reason: TypeAlias = Literal[
    "agreement",  # s >= t
    "disagreement",  # s < t
    "confident",  # the same for a token-level signal
    "unsure",
    "too_few_answers",  # fewer survivors than min_answers, or one answer and a signal that compares two
    "nothing_to_return",  # every answer is empty, or the fixed model's is missing
    "scorer_failed",
    "refused",  # a model cannot do what the request asks for
    "unaffordable",  # the request's budget is too small to ask the tier
    "forced",  # the request said so
    "session",  # its conversation was deferred before, and stays with the target
    "skipped",  # requests like it were nearly always deferred, or nearly always accepted
    "last_tier",  # no decision to take
]
Force: TypeAlias = Literal["accept", "defer"]
ReasoningEffort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of one of the request's tools. `arguments` is JSON as the model wrote it, so it may be malformed."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a message: a `data:` URL that holds it, or an http(s) URL that the model's own server is to fetch.

    `detail` is how closely the model should look, in the words of the client.
    """

    url: str
    detail: str | None = None

    @property
    def remote(self) -> bool:
        """Return whether somebody must fetch it."""
        return not self.url.startswith("data:")


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message; an assistant's may call tools, a tool's (role `tool`) answers the call `tool_call_id`.

    A message with images has all of it, in order, in `parts`; `content` is then its text alone.
    """

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    parts: tuple[str | Image, ...] = ()

    @property
    def images(self) -> tuple[Image, ...]:
        """Return the images of the message."""
        return tuple(part for part in self.parts if isinstance(part, Image))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to decode. None leaves a value to the model's own configured default.

    `logit_bias` has pairs of a token's id and what is added to its logit. With `logprobs`, `top_logprobs` is how many
    of the likeliest tokens come beside each token of the answer. `sample` is the number, from 1, of one of several
    samples of the prompt: recorded answers are told apart by it, other models need not know.

    A model whose engine cannot honour a `reasoning_effort` (other than none, which leaves it as it is) or
    `max_reasoning_tokens` is never given it.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    top_logprobs: int = 0
    reasoning_effort: ReasoningEffort | None = None
    max_reasoning_tokens: int | None = None
    sample: int | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """Chat `messages`, or a raw `text` that no chat template touches: exactly one of the two.

    `timeout_s` is how long a model may work on it; after that the model returns a `Failure` of kind `timeout`. After
    `patience_s` its answer is no longer waited for: a model that is stopped then was late.
    A model whose engine cannot honour `tools`, `tool_choice`, `response_format` or images is never given them; without
    a tool choice the model may call or not. Without `parallel_tool_calls` an answer has one call at most. `trace` has
    the W3C Trace Context headers of the caller; engines that call a model over HTTP pass them on.
    """

    messages: tuple[Message, ...] = ()
    text: str | None = None
    sampling: Sampling = Sampling()
    timeout_s: float | None = None
    patience_s: float | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True
    response_format: ResponseFormat | None = None
    trace: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if (self.text is None) == (not self.messages):
            raise ValueError("A prompt has either messages or a text, not both and not neither.")


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token and its natural-log probability at temperature 1.

    `alternatives` are the likeliest tokens in its place, itself often among them, if the request asked for them.
    """

    token: str
    logprob: float
    alternatives: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed answer: text, or `reasoning` before it, or both.

    The token counts are totals so far, so that a stream cut short can be charged; `estimated` is set until somebody has
    counted them.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """A model's whole answer. Latencies in seconds, measured at the engine (without network and queue before it).

    `estimated` is set if nobody counted the tokens, as with an API that does not report them. `reasoning` is what the
    model wrote to itself before the text: it is never compared; `reasoning_tokens` of the `completion_tokens` are its.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    logprobs: tuple[TokenLogprob, ...] | None = None
    latency_s: float = 0.0
    first_token_s: float | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    estimated: bool = False
    reasoning: str = ""
    reasoning_tokens: int = 0

    @property
    def compared(self) -> str:
        """Return what signals compare without a view: the text, or the tool calls as JSON (name, arguments, no ids)."""
        if not self.tool_calls:
            return self.text
        try:
            return _canonical([(call.name, _parsed(call.arguments)) for call in self.tool_calls])
        except RecursionError:  # nested deeper than the stack
            return _canonical([(call.name, call.arguments) for call in self.tool_calls])


def _canonical(calls: list[tuple[str, Any]]) -> str:
    values = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return whole(json.dumps(values, ensure_ascii=False, sort_keys=True))


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


@dataclass(frozen=True, slots=True)
class Failure:
    """A model call without an answer. Its tokens were spent all the same; `estimated` is set if nobody counted them.

    `uncounted` asks the cascade to estimate them, because the model's own counts were lost. `param` is the request's
    field that a refusal is about; `retry_after_s` is when a rate-limited model may be asked again.
    """

    kind: FailureKind
    message: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_s: float = 0.0
    estimated: bool = False
    uncounted: bool = False
    param: str | None = None
    retry_after_s: float | None = None


Answer: TypeAlias = Generation | Failure


@dataclass(frozen=True, slots=True)
class Scores:
    """What a scorer returns for the texts of one request; `flops` and `device_s` are its own cost.

    `truncated_pairs` is the number of ordered pairs that were cut to what the signal's model reads.
    """

    similarities: Matrix
    flops: float = 0.0
    device_s: float = 0.0
    truncated_pairs: int = 0


@dataclass(frozen=True, slots=True)
class Embedding:
    """A text's vector of length 1, as float32 numbers in little-endian bytes, and the tokens that were read of it.

    `flops` is what it cost.
    """

    vector: bytes
    tokens: int
    flops: float = 0.0


Confidence: TypeAlias = Callable[[str, Generation], float]
"""A token-level confidence in a model's answer (paper, section 3.3), normalised for that model if several are
compared (section 3.4); minus infinity if there are no log-probabilities."""


@dataclass(frozen=True, slots=True)
class Blend:
    """Agreement and token confidence in one output score (the paper's future work, section 5).

    `intercept + agreement x o_i + confidence x c_i`, or its logistic function: the probability that answer i is good.
    It is minus infinity without log-probabilities, as a negative weight would make their absence the best confidence.
    """

    agreement: float
    confidence: float
    intercept: float = 0.0
    logistic: bool = False

    def __call__(self, agreement: float, confidence: float) -> float:
        """Return the output score of an answer with this agreement and this confidence."""
        if confidence == -inf:
            return -inf
        score = self.intercept + self.agreement * agreement + self.confidence * confidence
        return _logistic(score) if self.logistic else score


def _logistic(x: float) -> float:
    if x < 0:  # exp of a large number would overflow
        return exp(x) / (1 + exp(x))
    return 1 / (1 + exp(-x))


@dataclass(frozen=True, slots=True)
class Tier:
    """A set of models called together, and the policy for their answers. The last tier is one model, the target.

    `signal` is the name of a similarity that the scorer computes; or, with `confidence` set, of a token-level signal;
    or, with `blend` set too, of both in one.
    `compare` is what of each answer the signal sees; None means the whole text.
    `timeout_s` is how long each model may work. After `quorum` answers that survive, or after `tier_timeout_s`, the
    tier is decided on those that have arrived.
    `signal_range` bounds the signal, so that the tier may be decided `early`: before all answers have arrived, once the
    `decision` is settled or also which answer is returned (`selection`). None if nothing bounds it.
    `direction` is ours (the paper names none): `both` averages S_ij and S_ji, `hypothesis` takes S_ij alone (answer i
    as the hypothesis), `reference` S_ji. `select` names a fixed model whose answer is returned (paper, appendix C).
    """

    models: tuple[str, ...]
    signal: str | None = None
    threshold: float = 0.0
    agreement: Literal["max", "mean"] = "max"
    direction: Literal["both", "hypothesis", "reference"] = "both"
    select: str | None = None
    min_answers: int = 2
    truncated: Literal["keep", "discard"] = "keep"
    timeout_s: float | None = None
    quorum: int | None = None
    tier_timeout_s: float | None = None
    confidence: Confidence | None = field(default=None, compare=False)
    blend: Blend | None = None
    compare: View | None = None
    signal_range: Range | None = field(default=None, compare=False)
    early: Literal["off", "decision", "selection"] = "selection"

    @property
    def token_level(self) -> bool:
        """Return whether each answer is scored by itself, without comparing it with others."""
        return self.confidence is not None and self.blend is None

    @property
    def may_settle_early(self) -> bool:
        """Return whether the tier may be decided before all answers are there: of two, no pair is before both are."""
        several = len(self.models) > (1 if self.token_level else 2)
        return several and self.early != "off" and self.signal_range is not None and self.blend is None

    @property
    def decides_by_arrival(self) -> bool:
        """Return whether the decision depends on which answers arrive first, or in time."""
        return self.quorum is not None or self.tier_timeout_s is not None

    @property
    def selects_by_arrival(self) -> bool:
        """Return whether another order of arrival may return another answer, though the decision is the same."""
        return self.may_settle_early and self.early == "decision" and self.select is None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the answers of a tier agree. `output_scores` has None for each model whose answer did not survive.

    `survivors` and `selected` are indices of models. `value` is s, None if it is undefined (fewer than two answers to
    compare). `selected` is None if no answer can be returned.
    """

    survivors: tuple[int, ...]
    output_scores: tuple[float | None, ...]
    value: float | None
    selected: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """Accept or defer, and why. `selected` is the index of the answer to return, also when deferring, or None."""

    accepted: bool
    reason: Reason
    agreement: float | None = None
    threshold: float | None = None
    selected: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a request may cost, in US dollars and FLOPs, and the seconds that it may take; None: no limit."""

    usd: float | None = None
    flops: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one model. A cancelled call has a `Failure`, so that its tokens are charged too.

    `wasted`: it was made before it was known to be needed, and was not.
    """

    model: str
    answer: Answer
    wasted: bool = False


@dataclass(frozen=True, slots=True)
class TierResult:
    """One tier's answers and the decision on them.

    `compared` are the texts that the scorer saw, and `scores` has their similarities: those of the survivors alone, in
    the order of `judged.survivors`; none if the comparison was given up after it had cost something. Without a view of
    the tier `compared` is empty: the texts are the answers.
    `carried` are the tier's models that an earlier tier had asked, whose answers are free.
    `bounds` are those of the agreement if the tier was decided before all of its answers had arrived.
    Times are in seconds; `elapsed_s` runs from the first model call to the decision; `scoring_s` is the part spent
    waiting for the scorer.
    """

    tier: Tier
    calls: tuple[Call, ...]
    decision: Decision
    judged: Agreement | None = None
    scores: Scores | None = None
    compared: tuple[str, ...] = ()
    scorer_error: str | None = None
    bounds: tuple[float, float] | None = None
    carried: tuple[str, ...] = ()
    elapsed_s: float = 0.0
    scoring_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Precheck:
    """What past requests like this one say, before any model is asked; without a verdict the cascade runs.

    `share` of the `neighbours` was deferred. If nearly all were, so is the request, to the target; if nearly none was,
    `member` alone is asked. `flops` is what the look-up cost; `failed`: there was none, or none in time.
    """

    verdict: Literal["deferred", "accepted"] | None
    neighbours: int = 0
    share: float | None = None
    member: str | None = None
    flops: float = 0.0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Cached:
    """How an answer came without a run of its own: it was kept `age_s` seconds ago, or `shared` while it was made."""

    age_s: float
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a request: the answer (or the last failure), the model that gave it, and every tier that ran.

    `replaced` is the target's failure if the cascade returned the best member answer instead. `escalated`: only the
    target was asked, because the request's conversation had been deferred before. `skipped` is why the request went
    straight to the model that answered. `others` are further answers of the
    same model, if the request wants several. `cached` is set if all but `total_s` is an equal request's: the run itself
    then has neither calls nor results.
    """

    answer: Answer
    answered_by: str
    tiers: tuple[TierResult, ...]
    total_s: float
    replaced: Failure | None = None
    escalated: bool = False
    skipped: Precheck | None = None
    others: tuple[Generation, ...] = ()
    cached: Cached | None = None

    @property
    def returned(self) -> tuple[Generation, ...]:
        """Return all answers that go back to the client: none after a failure."""
        return (self.answer, *self.others) if isinstance(self.answer, Generation) else ()

    @property
    def deferred(self) -> bool:
        """Return whether the first tier's answers were not accepted, or not asked for (a single tier never defers)."""
        if self.skipped is not None:
            return self.skipped.verdict == "deferred"
        return self.escalated or len(self.tiers) > 1

    @property
    def reason(self) -> Reason:
        """Return why the first tier's answers were accepted or not."""
        if self.skipped is not None:
            return "skipped"
        return "session" if self.escalated else self.tiers[0].decision.reason
