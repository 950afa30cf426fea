"""What is asked in the latency benchmark, and what each model answers."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve_app.core.types.answer import Answer, Generation
from serve_app.engines.replay.tape import RecordedAnswer
from serve_app.evaluation.records.file import Records

A, B, C, TARGET = "member-3b", "member-1.5b", "member-1.5b-2", "target-72b"
MEMBERS = (A, B, C)
OWN_SHARE = 0.3
"""How likely a model has a share of its own, so that it agrees on the prompt with none or with more than the others."""


@dataclass(frozen=True)
class Workload:
    """Prompts, and the answer of each model to each."""

    prompts: list[str]
    answers: Mapping[str, list[RecordedAnswer]]


def made_up(requests: int, rng: random.Random) -> Workload:
    """Return answers that begin with the prompt's common words; what share of them is common is uniform from 0 to 1.

    The share is the same for all models but those that draw their own: two may agree, and the third not. The other
    words are of that model alone. Tokens are the likelier the more is common, with noise: -0.05 on average if all is,
    -0.55 if nothing is. ROUGE splits texts at anything but letters and digits, so each word is made of these alone.
    """
    prompts = [f"prompt {number}" for number in range(requests)]
    answers: dict[str, list[RecordedAnswer]] = {name: [] for name in (*MEMBERS, TARGET)}
    for number in range(requests):
        usual = rng.random()
        typical = rng.lognormvariate(0.0, 0.5)
        for own, column in zip("abct", answers.values(), strict=True):
            share = rng.random() if rng.random() < OWN_SHARE else usual
            logprob = -0.05 - 0.5 * (1 - share) * rng.uniform(0.5, 1.5)
            length = max(1, min(512, round(113 * typical * rng.lognormvariate(0.0, 0.2))))
            common = round(share * length * rng.uniform(0.9, 1.0))
            words = [f"{'s' if word < common else own}{number}x{word}" for word in range(length)]
            tokens = [words[0], *(f" {word}" for word in words[1:])]
            logprobs = tuple((token, logprob) for token in tokens)
            column.append(RecordedAnswer(text="".join(tokens), prompt_tokens=256, logprobs=logprobs))
    return Workload(prompts, answers)


def recorded(records: Records, models: Sequence[str], requests: int, rng: random.Random) -> Workload:
    """Return recorded answers, drawn again if there are fewer than the requests."""
    rows = records.complete(models)
    chosen = [rng.choice(rows) for _ in range(requests)] if len(rows) < requests else rng.sample(rows, requests)
    answers: dict[str, list[RecordedAnswer]] = {}
    for name, model in zip((*MEMBERS, TARGET), models, strict=True):
        column = [records.answers[model].without_logprobs(row) for row in chosen]
        answers[name] = [_played(answer) for answer in column if answer is not None]
    return Workload([f"prompt {number}" for number in range(requests)], answers)


def _played(answer: Answer) -> RecordedAnswer:
    if not isinstance(answer, Generation):
        return RecordedAnswer(error=answer.message or "failed", prompt_tokens=answer.prompt_tokens)
    tokens = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
    return RecordedAnswer(text=answer.text, **tokens)


def tokens_of(played: RecordedAnswer) -> int:
    """Return how many tokens an answer has."""
    return len(played.logprobs) if played.logprobs else played.completion_tokens or 0
