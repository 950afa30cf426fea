"""Self-consistency (Wang et al., arXiv 2203.11171): samples of one model, each of them a member of its tier."""

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from serve_app.core.protocols import Model
from serve_app.core.types.answer import Answer, Delta
from serve_app.core.types.prompt import Prompt, Sampling

_NAME = re.compile(r"(.+)#([1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Sample:
    """The `number`th sample (from 1) of the model `base`, and how it is drawn; None leaves a value to the request.

    `seed` is the first sample's, for requests without one.
    """

    base: str
    number: int
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None

    @property
    def name(self) -> str:
        """Return the name of the sample as a member of a tier, such as `qwen-7b#2`."""
        return f"{self.base}#{self.number}"


def parsed_name(name: str) -> tuple[str, int] | None:
    """Return the model and the number in a sample's name, or None if the name is a model's own."""
    match = _NAME.fullmatch(name)
    return match and (match[1], int(match[2]))


def base_name(name: str) -> str:
    """Return the model that answers for a member: `qwen-7b` for its sample `qwen-7b#2`, else the name itself."""
    parts = parsed_name(name)
    return name if parts is None else parts[0]


def are_first(names: Sequence[str], available: Sequence[str]) -> bool:
    """Return whether all samples in `names` are the first available ones of their model: any others are like them.

    Both are in the same order.
    """
    for base in {parsed[0] for parsed in map(parsed_name, names) if parsed}:
        samples = [name for name in names if name != base == base_name(name)]
        if samples != [name for name in available if name != base == base_name(name)][: len(samples)]:
            return False
    return True


def sampled(prompt: Prompt, sample: Sample) -> Prompt:
    """Return the prompt as a sample gets it.

    Its temperature and top_p replace the request's, since agreement between greedy copies means nothing; the request's
    seed replaces the sample's, and each sample has the next one.
    """
    requested = prompt.sampling
    seeded = replace(requested, seed=sample.seed if requested.seed is None else requested.seed)
    sampling = replace(
        reseeded(seeded, sample.number - 1),
        temperature=requested.temperature if sample.temperature is None else sample.temperature,
        top_p=requested.top_p if sample.top_p is None else sample.top_p,
        sample=sample.number,
    )
    return replace(prompt, sampling=sampling)


def reseeded(sampling: Sampling, steps: int) -> Sampling:
    """Return the sampling of a further answer to the same prompt: its seed, if it has one, is `steps` later."""
    if sampling.seed is None:
        return sampling
    return replace(sampling, seed=(sampling.seed + steps + 2**63) % 2**64 - 2**63)  # within 64 bits


class SampledModel:
    """A sample of a model, as the core's `Model`."""

    def __init__(self, model: Model, sample: Sample) -> None:
        self._model = model
        self._sample = sample

    async def generate(self, prompt: Prompt) -> Answer:
        """Return the sample's whole answer."""
        return await self._model.generate(sampled(prompt, self._sample))

    def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        """Yield the sample's deltas, then its answer."""
        return self._model.stream(sampled(prompt, self._sample))
