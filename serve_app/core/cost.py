"""Tokens -> FLOPs, money and device-seconds, and estimates for calls whose tokens or times nobody measured.

FLOPs are 2 x parameters x tokens, prompt and output alike (active parameters for mixtures of experts): the usual
estimate of a forward pass. In an encoder-decoder the encoder reads the prompt and the decoder writes the answer.
A unit that is unknown for one model (the size behind an API, a price that nobody gave) is None for the whole sum, since
a partial sum would look like a saving.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from serve_app.core.tools import Tool
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.prompt import Prompt
from serve_app.core.types.scores import Scores


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What a model costs. `parameters` are those active for one token; prices are US dollars a million tokens.

    `prompt_parameters` are those active for a prompt token if they differ, as in an encoder-decoder.
    `usd_per_device_hour` is the price of each of its devices. A model without any price costs an unknown number of
    dollars; otherwise a price that is None adds nothing.
    """

    parameters: float | None = None
    input_usd: float | None = None
    output_usd: float | None = None
    devices: float = 1.0
    prompt_parameters: float | None = None
    usd_per_device_hour: float | None = None

    def flops(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return the FLOPs of reading and writing these tokens, or None if the size is unknown."""
        if self.parameters is None:
            return None
        reading = self.parameters if self.prompt_parameters is None else self.prompt_parameters
        return 2 * (reading * prompt_tokens + self.parameters * completion_tokens)

    def usd(self, prompt_tokens: int, completion_tokens: int, device_s: float | None) -> float | None:
        """Return the US dollars of one call, or None if no price is known, or the time that is billed is not."""
        if self.input_usd is None and self.output_usd is None and self.usd_per_device_hour is None:
            return None
        tokens = ((self.input_usd or 0.0) * prompt_tokens + (self.output_usd or 0.0) * completion_tokens) / 1e6
        if self.usd_per_device_hour is None:
            return tokens
        return None if device_s is None else tokens + self.usd_per_device_hour * device_s / 3600


@dataclass(frozen=True, slots=True)
class Cost:
    """A cost in three units, each None if it cannot be known."""

    flops: float | None = 0.0
    usd: float | None = 0.0
    device_s: float | None = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(_sum(self.flops, other.flops), _sum(self.usd, other.usd), _sum(self.device_s, other.device_s))


@dataclass(frozen=True, slots=True)
class EstimatedCost(Cost):
    """A cost, and whether it rests on token counts or times that nobody measured."""

    estimated: bool = False


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def price(model: ModelCost, prompt_tokens: int, completion_tokens: int, latency_s: float | None) -> Cost:
    """Return the cost of one call: its tokens, and the seconds for which it held its devices.

    Requests that a model serves side by side share its devices, and each is charged its whole time: an upper bound.
    """
    device_s = None if latency_s is None else latency_s * model.devices
    return Cost(
        flops=model.flops(prompt_tokens, completion_tokens),
        usd=model.usd(prompt_tokens, completion_tokens, device_s),
        device_s=device_s,
    )


def call_cost(model: ModelCost, answer: Answer) -> Cost:
    """Return the cost of one call by the tokens and seconds of its answer, or of its failure."""
    return price(model, answer.prompt_tokens, answer.completion_tokens, answer.latency_s)


def scoring_cost(comparisons: Iterable[Scores | None]) -> Cost:
    """Return what comparing answers cost: FLOPs and device-seconds, but no dollars. None: no comparison was made."""
    return sum((Cost(scores.flops, device_s=scores.device_s) for scores in comparisons if scores), Cost())


class Speed:
    """A model's speed: seconds per prompt token and per generated token, and tokens an answer, as moving averages.

    Used to estimate calls that were cut short, and what the target alone would have taken. `longest` is how many tokens
    an answer has at most if the request names no limit, or None.
    """

    WEIGHT = 0.1
    FASTEST_TOKEN_S = 1e-4
    """No model generates faster for one request: an answer that arrived faster was complete before its first delta."""

    def __init__(self, longest: int | None = None) -> None:
        self.longest = longest
        self.answer_tokens: float | None = None
        self.prompt_token_s: float | None = None
        self.token_s: float | None = None

    def observe(self, answer: Generation) -> None:
        """Update the averages with a finished answer. Reading ends with the first token, if its time was measured."""
        first_s, tokens = answer.first_token_s, answer.completion_tokens
        self.answer_tokens = self._averaged(self.answer_tokens, tokens)
        decoding_s = 0.0 if first_s is None or tokens < 2 else (answer.latency_s - first_s) / (tokens - 1)
        if first_s is None or (tokens > 1 and decoding_s < self.FASTEST_TOKEN_S):
            reading_s = (self.prompt_token_s or 0.0) * answer.prompt_tokens
            self.token_s = self._averaged(self.token_s, max(0.0, answer.latency_s - reading_s) / max(1, tokens))
            return
        self.prompt_token_s = self._averaged(self.prompt_token_s, first_s / max(1, answer.prompt_tokens))
        if tokens > 1:
            self.token_s = self._averaged(self.token_s, decoding_s)

    def _averaged(self, average: float | None, value: float) -> float:
        return value if average is None else average + self.WEIGHT * (value - average)

    def seconds(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return the expected seconds for an answer of that size, or None before the first observation."""
        if self.prompt_token_s is None and self.token_s is None:
            return None
        return (self.prompt_token_s or 0.0) * prompt_tokens + (self.token_s or 0.0) * completion_tokens

    def tokens(self, elapsed_s: float, prompt_tokens: int) -> int | None:
        """Return the expected tokens after `elapsed_s` on such a prompt, or None if no token was ever timed."""
        if not self.token_s:
            return None
        return max(0, ceil((elapsed_s - (self.prompt_token_s or 0.0) * prompt_tokens) / self.token_s))


def capped(tokens: int, prompt: Prompt, speed: Speed | None) -> int:
    """Return an expected number of answer tokens, or the most that the request or else its model allows if fewer."""
    longest = prompt.sampling.max_tokens or (speed.longest if speed else None)
    return tokens if longest is None else min(tokens, longest)


def target_only(outcome: Outcome, target: str, model: ModelCost, speed: Speed) -> EstimatedCost:
    """Return what the target alone would have cost for this request.

    If the target answered, that is what it did cost. Otherwise it is an estimate: the prompt counts as in the accepted
    answers' own tokeniser, and the target's answers are assumed to be as long as those.
    """
    by_another, answers = outcome.answered_by != target, (outcome.answer, *outcome.further_answers)
    total = Cost()
    for answer in answers:
        tokens = answer.prompt_tokens, answer.completion_tokens
        total += price(model, *tokens, speed.seconds(*tokens) if by_another else answer.latency_s)
    estimated = by_another or any(answer.estimated for answer in answers)
    return EstimatedCost(total.flops, total.usd, total.device_s, estimated)


BYTES_PER_TOKEN = 3
"""Characters of a token in estimates, which are rather too high: English has about 4 in common tokenisers."""
MESSAGE_TOKENS = 8
"""Tokens that a chat template adds to a message, roughly."""
IMAGE_TOKENS = 1500
"""About what OpenAI's models count for a large image; others scale it down to fewer."""
TOOL_CHARACTERS = 36
"""What OpenAI's JSON adds to the fields of a tool: its type, braces and a comma."""


def cut_short(
    failure: Failure,
    prompt: Prompt,
    *,
    elapsed_s: float,
    latest: Delta | None,
    peers: Iterable[Answer],
    speed: Speed | None,
) -> Failure:
    """Return the failure of a call that was cut short, with the tokens that it cost.

    The engine's counts are used if it streamed (`latest` is the last delta). Otherwise the tokens are estimated, and
    marked so: the prompt as `peers` (the other models' answers) counted it, or from its length; the answer from the
    elapsed time (which includes waiting for a replica or a slot), or as long as the longest peer.
    """
    if latest is not None:
        counts, estimated = (latest.prompt_tokens, latest.completion_tokens), latest.estimated
    else:
        counts, estimated = _guess(prompt, elapsed_s, [peer for peer in peers if peer.prompt_tokens], speed), True
    return Failure(failure.kind, failure.message, counts[0], counts[1], elapsed_s, estimated)


def _guess(prompt: Prompt, elapsed_s: float, peers: list[Answer], speed: Speed | None) -> tuple[int, int]:
    prompt_tokens = max((peer.prompt_tokens for peer in peers), default=None) or estimated_prompt_tokens(prompt)
    completion_tokens = speed.tokens(elapsed_s, prompt_tokens) if speed else None
    if completion_tokens is None:
        completion_tokens = max((peer.completion_tokens for peer in peers), default=0)
    return prompt_tokens, capped(completion_tokens, prompt, speed)


def estimated_tokens(text: str) -> int:
    """Estimate a text's tokens from its length, for texts that nobody has counted."""
    return ceil(len(text.encode(errors="replace")) / BYTES_PER_TOKEN)


def estimated_prompt_tokens(prompt: Prompt) -> int:
    """Estimate the prompt's tokens from its length, for prompts that nobody has counted."""
    if prompt.text is not None:
        return estimated_tokens(prompt.text)
    called = sum(len(call.name) + len(call.arguments) for message in prompt.messages for call in message.tool_calls)
    tools = sum(map(_characters, prompt.tools))
    images = sum(len(message.images) for message in prompt.messages)
    return (
        images * IMAGE_TOKENS
        + ceil((called + tools) / BYTES_PER_TOKEN)
        + sum(estimated_tokens(message.content) + MESSAGE_TOKENS for message in prompt.messages)
    )


def _characters(tool: Tool) -> int:
    fields = {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    return len(json.dumps({name: value for name, value in fields.items() if value is not None})) + TOOL_CHARACTERS
