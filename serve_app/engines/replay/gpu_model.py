"""A GPU that serves by continuous batching, in virtual time: the time model of `replay` engines and of simulations.

The GPU works in steps. Every running sequence gets one token a step; sequences join and leave between steps, at most
`slots` at once, the others wait in order. A step takes

    step_s + sequence_s x (running sequences) + prompt_token_s x (prompt tokens of those that have just joined)

so reading the weights, the work a sequence, and prefill. Left out: prompts are read whole in the step in which they
join (no chunks), and a context that grows makes no step longer.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import Field

from serve_app.engines.base import Settings


class BatchSpeed(Settings):
    """What a step of a continuous batch takes, in seconds. Fit it to published or measured times per token."""

    step_s: float = Field(gt=0, description="Seconds of a step whatever is in it: reading the weights.")
    sequence_s: float = Field(default=0.0, ge=0, description="Seconds more for each running sequence.")
    prompt_token_s: float = Field(default=0.0, ge=0, description="Seconds more for each prompt token read.")

    def decode_s(self, sequences: float) -> float:
        """Return the seconds of a step in which nothing joins."""
        return self.step_s + self.sequence_s * sequences

    def peak_rps(self, slots: float, prompt_tokens: float, completion_tokens: float) -> float:
        """Return the requests per second with all slots taken, each of so many tokens (at least one is generated)."""
        tokens = max(1.0, completion_tokens)
        return 1 / (tokens * self.decode_s(slots) / slots + self.prompt_token_s * prompt_tokens)

    def latency_s(self, rps: float, prompt_tokens: float, completion_tokens: float) -> float:
        """Return the mean seconds of an answer if requests come at random at `rps` and each finds a slot.

        An arrival finds the mean number running, n = rps x latency (Little's law), and makes it n + 1. Each of those
        lengthens every step, and each that joins adds its prefill, so

            latency = tokens x (step_s + sequence_s x (n + 1)) + prompt_token_s x prompt_tokens x (n + 1)

        solved for the latency. Infinite if the GPU cannot keep up. Waiting for a step under way is left out.
        """
        tokens = max(1.0, completion_tokens)
        own_s = tokens * self.sequence_s + self.prompt_token_s * prompt_tokens
        spare = 1 - rps * own_s
        return (tokens * self.step_s + own_s) / spare if spare > 0 else float("inf")


@dataclass(eq=False, slots=True)
class Sequence:
    """One request in a batch: `completion_tokens` (at least 1) to generate. Times are those of the batch's clock."""

    prompt_tokens: int
    completion_tokens: int
    arrived_s: float
    joined_step: int | None = None
    first_token_s: float | None = None
    finished_s: float | None = None
    left_step: int | None = None

    @property
    def ended(self) -> bool:
        """Return whether the sequence is complete or was given up."""
        return self.left_step is not None


class ContinuousBatch:
    """The state of one GPU. Callers own the clock: they say what time it is, never going back."""

    def __init__(self, speed: BatchSpeed, slots: int) -> None:
        self._speed = speed
        self._slots = slots
        self._waiting: deque[Sequence] = deque()
        self._finishing: list[tuple[int, int, Sequence]] = []
        self._numbers = iter(range(1 << 62))
        self._running = 0
        self._step = 0  # the one under way; a sequence that joined in step j has had _step - j tokens
        self._step_ends_s: float | None = None
        self.busy_s = 0.0

    @property
    def running(self) -> int:
        """Return the number of sequences that hold a slot."""
        return self._running

    @property
    def waiting(self) -> int:
        """Return the number of sequences that wait for a slot, or for the next step."""
        return sum(not sequence.ended for sequence in self._waiting)

    def add(self, now_s: float, prompt_tokens: int, completion_tokens: int) -> Sequence:
        """Add a sequence, which joins in the next step if there is a slot. Call `advance` to now before."""
        sequence = Sequence(prompt_tokens, max(1, completion_tokens), now_s)
        self._waiting.append(sequence)
        if self._step_ends_s is None:
            self._begin(now_s)
        return sequence

    def remove(self, sequence: Sequence) -> None:
        """Give a sequence up; its slot is free from the next step on."""
        if not sequence.ended:
            sequence.left_step = self._step
            self._running -= sequence.joined_step is not None

    def generated(self, sequence: Sequence) -> int:
        """Return the number of tokens that a sequence has by now."""
        if sequence.joined_step is None:
            return 0
        return (self._step if sequence.left_step is None else sequence.left_step) - sequence.joined_step

    def advance(self, now_s: float) -> list[Sequence]:
        """Finish all steps that end by `now_s` and return the sequences that are complete by then, in order."""
        return list(self._advance(now_s))

    def next_change_s(self) -> float | None:
        """Return when a sequence is complete or joins next (if none is added), or None if nothing runs."""
        if self._step_ends_s is None:
            return None
        last = self._next_finish()
        if last is None or (self._running < self._slots and self._waiting):
            return self._step_ends_s
        return self._step_ends_s + (last - self._step - 1) * self._speed.decode_s(self._running)

    def _advance(self, now_s: float) -> Iterator[Sequence]:
        while self._step_ends_s is not None and self._step_ends_s <= now_s:
            step_end_s = self._step_ends_s
            self._step += 1
            for sequence in self._finished():
                sequence.finished_s = step_end_s
                yield sequence
            if not self._begin(step_end_s):
                self._skip(now_s)

    def _begin(self, now_s: float) -> bool:
        """Start the next step with the waiting sequences that get a slot; return whether any joined."""
        joining = list(self._joining())
        if not self._running:
            self._step_ends_s = None
            return False
        length = self._speed.decode_s(self._running)
        length += self._speed.prompt_token_s * sum(sequence.prompt_tokens for sequence in joining)
        self._step_ends_s = now_s + length
        self.busy_s += length
        for sequence in joining:
            sequence.first_token_s = self._step_ends_s
        return bool(joining)

    def _joining(self) -> Iterator[Sequence]:
        while self._waiting and self._running < self._slots:
            sequence = self._waiting.popleft()
            if not sequence.ended:
                sequence.joined_step = self._step
                self._running += 1
                heapq.heappush(
                    self._finishing, (self._step + sequence.completion_tokens, next(self._numbers), sequence)
                )
                yield sequence

    def _finished(self) -> Iterator[Sequence]:
        while self._finishing and self._finishing[0][0] <= self._step:
            sequence = heapq.heappop(self._finishing)[2]
            if not sequence.ended:
                self.remove(sequence)
                yield sequence

    def _skip(self, now_s: float) -> None:
        """Pass over steps in which nothing happens: all but the one in which the next sequence is complete."""
        last = self._next_finish()
        if self._step_ends_s is None or last is None or (self._running < self._slots and self._waiting):
            return
        length = self._speed.decode_s(self._running)
        steps = min(last - self._step - 1, int((now_s - self._step_ends_s) / length))
        if steps > 0:
            self._step += steps
            self._step_ends_s += steps * length
            self.busy_s += steps * length

    def _next_finish(self) -> int | None:
        """Return the step after which the next sequence is complete, or None."""
        while self._finishing and self._finishing[0][2].ended:
            heapq.heappop(self._finishing)
        return self._finishing[0][0] if self._finishing else None
